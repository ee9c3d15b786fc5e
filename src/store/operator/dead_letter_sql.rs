//! The conditions of a filter of dead letters, which both engines derive in the notation of their
//! dialect.

use super::dead_letters::{DeadLetterFilter, DeadLetterState};
use crate::order::Timestamp;

/// A value that is bound to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Parameter<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Int(i32),
    BigInt(i64),
    /// Microseconds since the epoch.
    Timestamp(i64),
}

/// The condition after WHERE, and its parameters from the first on.
pub(in crate::store) struct Condition<'a> {
    pub sql: String,
    pub parameters: Vec<Parameter<'a>>,
}

/// `p` precedes the number of a parameter; `key_is` compares the key with the parameter that it is
/// given.
pub(in crate::store) fn condition<'a>(
    filter: &'a DeadLetterFilter,
    p: char,
    key_is: impl Fn(&str) -> String,
) -> Condition<'a> {
    let state = match filter.state {
        DeadLetterState::Open => "resolution IS NULL",
        DeadLetterState::Resolved => "resolution IS NOT NULL",
        DeadLetterState::All => "true",
    };
    let mut sql = state.to_owned();
    let mut parameters = Vec::new();
    let mut add = |parameter, condition: &dyn Fn(&str) -> String| {
        parameters.push(parameter);
        let number = format!("{p}{}", parameters.len());
        sql.push_str(" AND ");
        sql.push_str(&condition(&number));
    };
    if let Some(Timestamp(Some(since))) = filter.since {
        add(Parameter::Timestamp(since), &|n| format!("dead_at >= {n}"));
    }
    if let Some(Timestamp(Some(until))) = filter.until {
        add(Parameter::Timestamp(until), &|n| format!("dead_at < {n}"));
    }
    if let Some(order_uid) = &filter.order_uid {
        add(Parameter::Text(order_uid), &|n| format!("order_uid = {n}"));
    }
    if let Some(key) = &filter.key {
        add(Parameter::Bytes(key), &|n| key_is(n));
    }
    if let Some(partition) = filter.partition {
        add(Parameter::Int(partition), &|n| format!("partition = {n}"));
    }
    Condition { sql, parameters }
}

impl<'a> Condition<'a> {
    /// Binds one more value; returns its number.
    pub(in crate::store) fn bind(&mut self, parameter: Parameter<'a>) -> usize {
        self.parameters.push(parameter);
        self.parameters.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_filter_is_a_condition_with_a_parameter() {
        let filter = DeadLetterFilter {
            state: DeadLetterState::Open,
            since: Some(Timestamp(Some(1))),
            until: Some(Timestamp(Some(2))),
            order_uid: Some("a".into()),
            key: Some(b"k".to_vec()),
            partition: Some(3),
        };
        let mut condition = condition(&filter, '$', |n| format!("key = {n}"));
        assert_eq!(
            condition.sql,
            "resolution IS NULL AND dead_at >= $1 AND dead_at < $2 AND order_uid = $3 AND key = $4 \
             AND partition = $5"
        );
        assert_eq!(condition.bind(Parameter::BigInt(0)), 6);
    }
}
