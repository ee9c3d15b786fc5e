//! Random orders, each with one of many ways to write it as JSON.
//!
//! Texts contain characters of all planes and all control characters except NUL, raw or escaped in any
//! way; numbers prefer the limits of their ranges; dates have fractions and zones. Fields are in any
//! order; a field that is "", 0 or empty may be null or missing. The expected order is known without the
//! program.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use proptest::char::range;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value};

use super::fields::{
    DELIVERY, ITEM_NUMBERS, ITEM_SMALL_NUMBERS, ITEM_TEXTS, ORDER_TEXTS, PAYMENT_NUMBERS,
    PAYMENT_TEXTS,
};

/// The first and the last microsecond of the years 1 to 9999.
const DATES: (i64, i64) = (-62_135_596_800_000_000, 253_402_300_799_999_999);

/// One order as it is written and as it must come back.
pub struct Spelled {
    pub uid: String,
    pub document: String,
    pub order: Value,
    /// Its date, in microseconds since 1970.
    pub micros: i64,
}

/// Generates orders; the same seed generates the same ones.
pub struct Draw {
    runner: TestRunner,
    drawn: usize,
}

impl Draw {
    pub fn new(seed: u64) -> Draw {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Draw {
            runner: TestRunner::new_with_rng(Config::default(), rng),
            drawn: 0,
        }
    }

    fn of<S: Strategy>(&mut self, strategy: S) -> S::Value {
        let tree = strategy.new_tree(&mut self.runner);
        tree.expect("these strategies reject nothing").current()
    }

    fn once_in(&mut self, times: u32) -> bool {
        self.of(0..times) == 0
    }

    pub fn order(&mut self) -> Spelled {
        let ending = self.of("[A-Za-z0-9._:-]{0,124}");
        // The leading number distinguishes orders.
        let uid = format!("{}{ending}", self.drawn);
        self.drawn += 1;
        let mut object = Object::default();
        object.add("order_uid", uid.clone().into(), format!("\"{uid}\""), false);
        self.texts(&mut object, &ORDER_TEXTS);
        let delivery = self.part(&DELIVERY, &[]);
        object.add_part("delivery", delivery);
        let payment = self.part(&PAYMENT_TEXTS, &PAYMENT_NUMBERS);
        object.add_part("payment", payment);
        self.small_numbers(&mut object, &["sm_id"]);
        self.items(&mut object);
        let (micros, written) = self.date();
        object.add("date_created", canonical(micros).into(), written, false);
        let (order, document) = self.write(object);
        Spelled {
            uid,
            document,
            order,
            micros,
        }
    }

    fn part(&mut self, texts: &[&'static str], numbers: &[&'static str]) -> (Value, String) {
        let mut object = Object::default();
        self.texts(&mut object, texts);
        self.numbers(&mut object, numbers);
        self.write(object)
    }

    fn items(&mut self, object: &mut Object) {
        let count = if self.once_in(50) {
            100
        } else {
            self.of(0_usize..5)
        };
        let (mut values, mut written) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mut item = Object::default();
            self.texts(&mut item, &ITEM_TEXTS);
            self.numbers(&mut item, &ITEM_NUMBERS);
            self.small_numbers(&mut item, &ITEM_SMALL_NUMBERS);
            let (value, text) = self.write(item);
            values.push(value);
            written.push(text);
        }
        let text = format!("[{}]", written.join(","));
        object.add("items", values.into(), text, count == 0);
    }

    fn texts(&mut self, object: &mut Object, names: &[&'static str]) {
        for &name in names {
            let text = self.text();
            let written = self.write_text(&text);
            object.add(name, text.clone().into(), written, text.is_empty());
        }
    }

    fn numbers(&mut self, object: &mut Object, names: &[&'static str]) {
        for &name in names {
            let number = self.number();
            let written = self.write_number(number);
            object.add(name, number.into(), written, number == 0);
        }
    }

    fn small_numbers(&mut self, object: &mut Object, names: &[&'static str]) {
        for &name in names {
            let ends = proptest::sample::select(vec![i32::MIN, i32::MAX, 0, -1]);
            let number = self.of(prop_oneof![any::<i32>(), ends]);
            let written = self.write_number(number.into());
            object.add(name, number.into(), written, number == 0);
        }
    }

    fn number(&mut self) -> i64 {
        self.of(prop_oneof![
            4 => any::<i64>(),
            4 => -1_000_000..1_000_000_i64,
            1 => Just(i64::MIN),
            1 => Just(i64::MAX),
            1 => Just(0),
        ])
    }

    fn write_number(&mut self, number: i64) -> String {
        if number == 0 && self.once_in(2) {
            return "-0".into();
        }
        number.to_string()
    }

    fn text(&mut self) -> String {
        if self.once_in(60) {
            // As long as a text may be, to the byte.
            let wide = self.of(range('\u{10000}', '\u{10ffff}'));
            return wide.to_string().repeat(1_024);
        }
        let special = vec![
            '"', '\\', '/', '\u{7f}', '\u{feff}', '\u{fffe}', '\u{ffff}', '\u{2028}', '\u{301}',
            '\u{202e}',
        ];
        let character = prop_oneof![
            4 => range(' ', '~'),
            2 => range('\u{1}', '\u{1f}'),
            1 => range('\u{80}', '\u{9f}'),
            2 => proptest::sample::select(special),
            2 => range('\u{a0}', '\u{d7ff}'),
            1 => range('\u{e000}', '\u{ffff}'),
            2 => range('\u{10000}', '\u{10ffff}'),
        ];
        self.of(vec(character, 0..16)).into_iter().collect()
    }

    /// The text in quotes, each character in one of the ways in which JSON writes it.
    fn write_text(&mut self, text: &str) -> String {
        let mut written = String::from('"');
        for character in text.chars() {
            let short = match character {
                '"' => Some('"'),
                '\\' => Some('\\'),
                '/' => Some('/'),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                '\n' => Some('n'),
                '\r' => Some('r'),
                '\t' => Some('t'),
                _ => None,
            };
            let must_escape = character < ' ' || matches!(character, '"' | '\\');
            match (self.of(0..4), short) {
                (0, Some(letter)) => written.extend(['\\', letter]),
                (0 | 1, _) => write_escaped(&mut written, character, false),
                (2, _) if must_escape => write_escaped(&mut written, character, true),
                (_, Some(letter)) if must_escape => written.extend(['\\', letter]),
                (_, None) if must_escape => write_escaped(&mut written, character, true),
                _ => written.push(character),
            }
        }
        written.push('"');
        written
    }

    /// A time, and one of the ways to write it with a zone and a fraction.
    fn date(&mut self) -> (i64, String) {
        let micros = self.of(prop_oneof![
            3 => DATES.0..=DATES.1,
            2 => (DATES.0 / 1_000_000..=DATES.1 / 1_000_000).prop_map(|seconds| seconds * 1_000_000),
            2 => 1_500_000_000_000_000..1_700_000_000_000_000_i64,
            1 => -1_000_000..1_000_000_i64,
            1 => Just(DATES.0),
            1 => Just(DATES.1),
        ]);
        let mut offset = self.of(prop_oneof![2 => Just(0_i64), 3 => -1_439..=1_439_i64]);
        let local = |offset: i64| micros + offset * 60_000_000;
        if !(DATES.0..=DATES.1).contains(&local(offset)) {
            offset = 0;
        }
        let digits = format!("{:06}", micros.rem_euclid(1_000_000));
        // Digits below a microsecond are cut off.
        let beyond = self.of("[0-9]{0,9}");
        let fraction = match (digits.trim_end_matches('0'), self.of(0..3)) {
            ("", 0) => String::new(),
            (needed, 0 | 1) if !needed.is_empty() => format!(".{needed}"),
            _ => format!(".{digits}{beyond}"),
        };
        let zone = match (offset, self.of(0..3)) {
            (0, 0) => "Z".to_owned(),
            (0, 1) => "-00:00".to_owned(),
            _ => {
                let sign = if offset < 0 { '-' } else { '+' };
                format!("{sign}{:02}:{:02}", offset.abs() / 60, offset.abs() % 60)
            }
        };
        let time = seconds(civil(local(offset)));
        (micros, format!("\"{time}{fraction}{zone}\""))
    }

    /// The object as it must come back, and as it is written: fields in any order, some left out or
    /// null where they are empty, unknown ones between them.
    fn write(&mut self, object: Object) -> (Value, String) {
        let mut members = Vec::new();
        for (name, written, is_empty) in object.written {
            match self.of(0..4) {
                0 if is_empty => {}
                1 if is_empty => members.push(format!("\"{name}\":null")),
                _ => members.push(format!("\"{name}\":{written}")),
            }
        }
        if self.once_in(3) {
            members.push(r#""unknown":{"order_uid":[null,1e3,"\u0000"]}"#.into());
        }
        let members = self.of(Just(members).prop_shuffle());
        let between = self.of(proptest::sample::select(vec![",", ", ", ",\n\t", " ,\r\n"]));
        let text = format!("{{{}}}", members.join(between));
        (object.value.into(), text)
    }
}

/// An object that is being generated: its value, and its members as they are written.
#[derive(Default)]
struct Object {
    value: Map<String, Value>,
    /// Name, value as written, and whether it may be omitted.
    written: Vec<(&'static str, String, bool)>,
}

impl Object {
    fn add(&mut self, name: &'static str, value: Value, written: String, is_empty: bool) {
        self.value.insert(name.into(), value);
        self.written.push((name, written, is_empty));
    }

    fn add_part(&mut self, name: &'static str, (value, written): (Value, String)) {
        self.add(name, value, written, false);
    }
}

fn write_escaped(written: &mut String, character: char, capitals: bool) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        written.push_str(&match capitals {
            true => format!("\\u{unit:04X}"),
            false => format!("\\u{unit:04x}"),
        });
    }
}

fn civil(micros: i64) -> DateTime {
    let epoch = date(1970, 1, 1).at(0, 0, 0, 0);
    epoch + SignedDuration::from_micros(micros)
}

/// `YYYY-MM-DDTHH:MM:SS`.
fn seconds(at: DateTime) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// In UTC, with a fraction only when there is one.
fn canonical(micros: i64) -> String {
    let digits = format!("{:06}", micros.rem_euclid(1_000_000));
    let time = seconds(civil(micros));
    match digits.trim_end_matches('0') {
        "" => format!("{time}Z"),
        fraction => format!("{time}.{fraction}Z"),
    }
}
