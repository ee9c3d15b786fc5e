//! Validates a value against a schema of the description (JSON Schema 2020-12, as OpenAPI 3.1 uses it).
//!
//! Knows the keywords that the description uses; any other is a failure of the test.

use jiff::Timestamp;
use regex::Regex;
use serde_json::{Map, Value};

/// A document with schemas in it.
pub struct Schemas<'d>(pub &'d Value);

impl Schemas<'_> {
    /// What `value` breaks of `schema`, each with the place; empty when it is valid.
    pub fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(schema, value, "", &mut faults);
        faults
    }

    pub fn is_valid(&self, schema: &Value, value: &Value) -> bool {
        self.faults(schema, value).is_empty()
    }

    /// The value that a reference names, or the value itself.
    pub fn resolve<'v>(&'v self, value: &'v Value) -> &'v Value {
        let Some(reference) = value.get("$ref") else {
            return value;
        };
        let pointer = text(reference).trim_start_matches('#');
        let found = self.0.pointer(pointer);
        found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        for (keyword, rule) in schema.as_object().expect("a schema is an object") {
            match keyword.as_str() {
                "$ref" => self.check(self.resolve(schema), value, at, faults),
                "properties" => self.properties(rule, value, at, faults),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, item, &format!("{at}/{index}"), faults);
                    }
                }
                _ if self.holds(keyword, rule, value) => {}
                _ => faults.push(format!("{at}: {keyword} {rule} is broken by {value}")),
            }
        }
    }

    fn properties(&self, rules: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let none = Map::new();
        let members = value.as_object().unwrap_or(&none);
        for (name, schema) in rules.as_object().expect("`properties` is an object") {
            if let Some(member) = members.get(name) {
                self.check(schema, member, &format!("{at}/{name}"), faults);
            }
        }
    }

    /// One rule on a value alone. A rule on another type of value holds.
    fn holds(&self, keyword: &str, rule: &Value, value: &Value) -> bool {
        let shortest = |length: Option<usize>| {
            length.is_none_or(|length| length as u64 <= rule.as_u64().expect("a length"))
        };
        match keyword {
            "type" => list(rule).any(|name| is_of_type(value, text(name))),
            "const" => value == rule,
            "enum" => list(rule).any(|allowed| value == allowed),
            "required" => value
                .as_object()
                .is_none_or(|members| list(rule).all(|name| members.contains_key(text(name)))),
            "anyOf" => list(rule).any(|schema| self.is_valid(schema, value)),
            "not" => !self.is_valid(rule, value),
            "pattern" => value.as_str().is_none_or(|value| {
                let pattern = Regex::new(text(rule)).expect("a pattern that every engine reads");
                pattern.is_match(value)
            }),
            "maxLength" => shortest(value.as_str().map(|value| value.chars().count())),
            "maxItems" => shortest(value.as_array().map(Vec::len)),
            "minimum" => integer(value).is_none_or(|value| Some(value) >= integer(rule)),
            "maximum" => integer(value).is_none_or(|value| Some(value) <= integer(rule)),
            "format" if rule == "date-time" => {
                let is_time = |value: &str| value.parse::<Timestamp>().is_ok();
                value.as_str().is_none_or(is_time)
            }
            // The widths of integers, which have bounds beside them where values are accepted.
            "format" | "description" => true,
            _ => panic!("the keyword `{keyword}` is not known to this test"),
        }
    }
}

/// One value, or those of an array.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    }
    .iter()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn integer(value: &Value) -> Option<i128> {
    let number = value.as_number()?;
    number.as_i128()
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => integer(value).is_some(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type `{other}`"),
    }
}
