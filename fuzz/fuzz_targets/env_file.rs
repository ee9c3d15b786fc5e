//! A `.env` file yields the variables that are known, literally, or names its first malformed line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orders_fuzz::variables;

fuzz_target!(|text: &str| {
    let names = ["A", "DB_URL"].map(str::to_owned).into();
    let read = variables(text, &names);
    match &read {
        Ok(variables) => {
            for (name, value) in variables {
                assert!(names.contains(name));
                assert!(text.contains(value.as_str()) && !value.contains('\n'));
            }
        }
        Err(line) => assert!((1..=text.lines().count()).contains(line)),
    }

    // Lines of other programs change nothing, and a later line replaces an earlier one.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let more = variables(&format!("B='\nC={{\n{text}\nDB_URL=\"$x\\\"\n"), &names);
    match read {
        Ok(mut variables) => {
            variables.insert("DB_URL".into(), "$x\\".into());
            assert_eq!(more, Ok(variables));
        }
        Err(line) => assert_eq!(more, Err(line + 2)),
    }

    // Any text of one line without an apostrophe can be written as a value.
    let value: String = text.chars().filter(|it| !"'\n\r".contains(*it)).collect();
    let written = variables(&format!("export A = '{value}' # {text:?}"), &names);
    assert_eq!(written, Ok([("A".to_owned(), value)].into()));
});
