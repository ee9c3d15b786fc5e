//! Masks secrets in text that is printed.
//!
//! Works on any text, not on parsed URLs: error messages repeat exactly what cannot be parsed. Where
//! the end of a secret is unclear, more than the secret is masked.

use percent_encoding::percent_decode_str;

/// Replaces a secret.
pub(super) const MASK: &str = "***";

/// Masks the password of every URL in the text, both in `scheme://user:password@host` and in
/// parameters (`?password=…`).
pub fn redact(text: &str) -> String {
    // Only white space ends a URL: any other character may be part of a password.
    text.split_inclusive(char::is_whitespace)
        .map(redact_word)
        .collect()
}

/// Masks what may be secret in an error about a command line: wherever the text repeats one of the
/// `arguments`, all that follows its first `=` or `://`. That covers a URL that is not recognised as
/// one, because its password contains a space or it has no `@`.
pub fn redact_arguments(text: &str, arguments: impl IntoIterator<Item = String>) -> String {
    let of_flag = |argument: &String| {
        let (_, value) = argument.strip_prefix('-')?.split_once('=')?;
        Some(value.to_owned())
    };
    let mut repeated: Vec<String> = arguments
        .into_iter()
        .flat_map(|argument| [of_flag(&argument), Some(argument)])
        .flatten()
        .collect();
    // Longest first: a shorter one may be its beginning.
    repeated.sort_by_key(|argument| std::cmp::Reverse(argument.len()));
    let mut text = text.to_owned();
    for argument in repeated {
        let ends = ["=", "://"].map(|sign| argument.find(sign).map(|at| at + sign.len()));
        if let Some(end) = ends.into_iter().flatten().min() {
            text = text.replace(&argument, &format!("{}{MASK}", &argument[..end]));
        }
    }
    redact(&text)
}

/// Masks the password of a value that is one URL: white space may be part of the password.
pub(super) fn redact_url(url: &str) -> String {
    redact_word(url)
}

fn redact_word(word: &str) -> String {
    let Some(scheme_end) = word.find("://") else {
        return word.to_owned();
    };
    let (scheme, rest) = word.split_at(scheme_end + 3);
    // The last `@`: a password may contain one.
    let rest = match rest.rfind('@') {
        Some(at) => {
            let (user_info, host) = rest.split_at(at);
            match user_info.split_once(':') {
                Some((user, _)) => format!("{user}:{MASK}{host}"),
                None => rest.to_owned(),
            }
        }
        None => match before_secret(rest) {
            Some(before) => return format!("{scheme}{before}:{MASK}"),
            None => rest.to_owned(),
        },
    };
    format!("{scheme}{}", redact_parameters(&rest))
}

/// What a sentence may put behind a URL.
const PUNCTUATION: [char; 9] = ['`', '\'', '"', '.', ',', ':', ';', ')', ' '];

/// What stands before a colon that no port follows: without an `@`, that may be a password whose host
/// was forgotten, and then nobody knows where it ends.
fn before_secret(rest: &str) -> Option<&str> {
    let authority = rest.split(['/', '?']).next()?;
    let mut begin = 0;
    for host in authority.split(',') {
        // The colons of an IPv6 address are inside its brackets.
        let name = host.rfind(']').map_or(0, |end| end + 1);
        if let Some(colon) = host[name..].find(':') {
            let port = host[name + colon + 1..].trim_end_matches(PUNCTUATION);
            if port.bytes().any(|byte| !byte.is_ascii_digit()) {
                return Some(&rest[..begin + name + colon]);
            }
        }
        begin += host.len() + 1;
    }
    None
}

fn redact_parameters(rest: &str) -> String {
    let Some((base, parameters)) = rest.split_once('?') else {
        return rest.to_owned();
    };
    let parameters: Vec<String> = parameters
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((key, value)) if is_password(key) => {
                let end = value.len() - value.trim_end_matches(['`', '\'', '"', '\n', ' ']).len();
                format!("{key}={MASK}{}", &value[value.len() - end..])
            }
            _ => parameter.to_owned(),
        })
        .collect();
    format!("{base}?{}", parameters.join("&"))
}

/// Keys may be percent-encoded, as libpq reads them.
fn is_password(key: &str) -> bool {
    let key = percent_decode_str(key).decode_utf8_lossy();
    key.to_ascii_lowercase().contains("password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_url_is_masked_and_the_rest_is_kept() {
        let cases = [
            (
                "postgresql://me:s3cret@db:5432/orders",
                "postgresql://me:***@db:5432/orders",
            ),
            ("postgres://me@db/orders", "postgres://me@db/orders"),
            ("postgres://me:s3cret", "postgres://me:***"),
            ("at `https://api:8443`: no", "at `https://api:8443`: no"),
            ("postgres://me:s3/cret", "postgres://me:***"),
            ("postgres://db:5432,me:s3cret", "postgres://db:5432,me:***"),
            (
                "postgres://[::1]:5432,db:1/o",
                "postgres://[::1]:5432,db:1/o",
            ),
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
            (
                "postgres://db/o?p%61ssword=x",
                "postgres://db/o?p%61ssword=***",
            ),
            ("no url at all: a@b", "no url at all: a@b"),
        ];
        for (text, expected) in cases {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    #[test]
    fn a_url_is_masked_whole_with_the_blanks_in_its_password() {
        let masked = redact_url("postgresql://me:s3 cr3t@db/o?sslmode=require");
        assert_eq!(masked, "postgresql://me:***@db/o?sslmode=require");
    }

    #[test]
    fn an_argument_is_repeated_only_up_to_a_possible_secret() {
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
