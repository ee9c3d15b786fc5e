//! Takes secrets out of text that people will read.
//!
//! Works on any text, not on parsed URLs: what cannot be parsed is exactly what ends up in error
//! messages. When in doubt it hides more than the secret, never less.

/// What stands in for a secret.
const HIDDEN: &str = "***";

/// The text with the password of every URL in it replaced, be it in the user part
/// (`scheme://user:password@host`) or among the parameters (`?password=…`).
pub fn redact(text: &str) -> String {
    // A URL ends at white space and nowhere else: any other character may belong to a password.
    text.split_inclusive(char::is_whitespace)
        .map(redact_word)
        .collect()
}

fn redact_word(word: &str) -> String {
    let Some(scheme_end) = word.find("://") else {
        return word.to_owned();
    };
    let (scheme, rest) = word.split_at(scheme_end + 3);
    // The last `@`: an unescaped one inside a password must not end the search early.
    let rest = match rest.rfind('@') {
        Some(at) => {
            let (user_info, host) = rest.split_at(at);
            match user_info.split_once(':') {
                Some((user, _)) => format!("{user}:{HIDDEN}{host}"),
                None => rest.to_owned(),
            }
        }
        None => rest.to_owned(),
    };
    format!("{scheme}{}", redact_parameters(&rest))
}

fn redact_parameters(rest: &str) -> String {
    let Some((place, parameters)) = rest.split_once('?') else {
        return rest.to_owned();
    };
    let parameters: Vec<String> = parameters
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((key, value)) if key.to_ascii_lowercase().contains("password") => {
                let end = value.len() - value.trim_end_matches(['`', '\'', '"', '\n', ' ']).len();
                format!("{key}={HIDDEN}{}", &value[value.len() - end..])
            }
            _ => parameter.to_owned(),
        })
        .collect();
    format!("{place}?{}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_url_is_hidden_and_the_rest_is_kept() {
        let cases = [
            (
                "postgresql://me:s3cret@db:5432/orders",
                "postgresql://me:***@db:5432/orders",
            ),
            ("postgres://me@db/orders", "postgres://me@db/orders"),
            (
                "postgres://me:a@b:c/d@db/orders",
                "postgres://me:***@db/orders",
            ),
            ("postgres://me:@db/orders", "postgres://me:***@db/orders"),
            (
                "postgres://db/o?user=me&password=x",
                "postgres://db/o?user=me&password=***",
            ),
            (
                "postgres://db/o?sslpassword=x&a=b",
                "postgres://db/o?sslpassword=***&a=b",
            ),
            ("no url at all: a@b", "no url at all: a@b"),
        ];
        for (text, expected) in cases {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    #[test]
    fn every_url_inside_a_sentence_is_redacted() {
        let text = "error: unexpected argument 'postgres://me:it's@db/o' found\nsee http://u:p@h/";
        assert_eq!(
            redact(text),
            "error: unexpected argument 'postgres://me:***@db/o' found\nsee http://u:***@h/"
        );
    }
}
