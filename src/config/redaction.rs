//! Takes secrets out of text that people will read.
//!
//! Works on any text, not on parsed URLs: what cannot be parsed is exactly what ends up in error
//! messages. When in doubt it hides more than the secret, never less.

/// What stands in for a secret.
pub(super) const HIDDEN: &str = "***";

/// The text with the password of every URL in it replaced, be it in the user part
/// (`scheme://user:password@host`) or among the parameters (`?password=…`).
pub fn redact(text: &str) -> String {
    // A URL ends at white space and nowhere else: any other character may belong to a password.
    text.split_inclusive(char::is_whitespace)
        .map(redact_word)
        .collect()
}

/// The text of an error about a command line, with what may be secret in `arguments` replaced
/// wherever it is repeated: all that follows the first `=` or `://` of an argument. That also covers
/// a URL that cannot be told by its looks, since its password has a space in it or it has no `@`.
pub fn redact_arguments(text: &str, arguments: impl IntoIterator<Item = String>) -> String {
    let of_flag = |argument: &String| {
        let (_, value) = argument.strip_prefix('-')?.split_once('=')?;
        Some(value.to_owned())
    };
    let mut told: Vec<String> = arguments
        .into_iter()
        .flat_map(|argument| [of_flag(&argument), Some(argument)])
        .flatten()
        .collect();
    // A longer one first: it may begin with a shorter one.
    told.sort_by_key(|argument| std::cmp::Reverse(argument.len()));
    let mut text = text.to_owned();
    for argument in told {
        let ends = ["=", "://"].map(|sign| argument.find(sign).map(|at| at + sign.len()));
        if let Some(end) = ends.into_iter().flatten().min() {
            text = text.replace(&argument, &format!("{}{HIDDEN}", &argument[..end]));
        }
    }
    redact(&text)
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
    fn an_argument_is_repeated_only_up_to_where_a_secret_may_begin() {
        let cases = [
            ("sasl.password=s3cret", "sasl.password=***"),
            ("postgresql://me:s3 cret@db/o", "postgresql://***"),
            ("postgresql://me:s3cret", "postgresql://***"),
            ("--wait=a=s3cret", "--wait=***"),
            ("s3cret", "s3cret"),
        ];
        for (argument, expected) in cases {
            let text = format!("error: unexpected argument '{argument}' found");
            let expected = format!("error: unexpected argument '{expected}' found");
            assert_eq!(redact_arguments(&text, [argument.into()]), expected);
        }
        let invalid = "error: invalid value 'a=s3cret' for '--wait <DURATION>'";
        let expected = "error: invalid value 'a=***' for '--wait <DURATION>'";
        let arguments = ["a=s3".into(), "--wait=a=s3cret".into()];
        assert_eq!(redact_arguments(invalid, arguments), expected);
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
