//! The texts of an order: owned, or borrowed from the document it was read from.
//!
//! The API checks an order and encodes it within one function, so it borrows and copies no text; an
//! order that is kept owns its texts. Serde always creates an owned `Cow`; [`Text`] borrows every
//! text without escapes.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A type that holds a text of the document `'d`.
pub trait HoldsText<'d>: AsRef<str> + Default + From<Cow<'d, str>> + Deserialize<'d> {}

impl HoldsText<'_> for String {}
impl<'d> HoldsText<'d> for Text<'d> {}

/// A text that is borrowed from the document `'d` unless it has escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<'d>(Cow<'d, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'d> From<Cow<'d, str>> for Text<'d> {
    fn from(text: Cow<'d, str>) -> Text<'d> {
        Text(text)
    }
}

impl<'d> From<Text<'d>> for Cow<'d, str> {
    fn from(text: Text<'d>) -> Cow<'d, str> {
        text.0
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'de>, D::Error> {
        struct Borrowing;

        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Borrowing)
    }
}
