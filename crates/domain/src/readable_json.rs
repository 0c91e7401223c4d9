//! JSON that every reader of Nightbook can read back.

use std::cell::Cell;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Arrays and objects in each other that a result of a program may have. Documents and answers put it into others, and the
/// reader takes 127 in all.
pub const MOST_NESTING: u32 = 100;

/// Arrays and objects in each other that a reader of a document takes.
pub const DOCUMENT_NESTING: u32 = 127;

/// Checks that a reader can read a JSON value whole.
///
/// Its numbers are finite, its texts are Unicode, and its arrays and objects are nested at most `most` levels deep.
///
/// # Errors
/// Why it cannot be read, with line and column.
pub fn check_readable(json: &[u8], most: u32) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    // Its own limit says nothing of ours.
    let levels = Cell::new(0);
    Readable { levels: &levels, most }.deserialize(&mut reader)?;
    reader.end()
}

/// Visits a value and keeps nothing.
#[derive(Clone, Copy)]
struct Readable<'a> {
    levels: &'a Cell<u32>,
    most: u32,
}

impl Readable<'_> {
    fn inside<T, E: Error>(self, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if self.levels.get() >= self.most {
            return Err(E::custom(format!("arrays and objects are nested more than {} levels deep", self.most)));
        }
        self.levels.set(self.levels.get() + 1);
        let value = read()?;
        self.levels.set(self.levels.get() - 1);
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for Readable<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Readable<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.inside(|| {
            while items.next_element_seed(self)?.is_some() {}
            Ok(())
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.inside(|| {
            while entries.next_key_seed(self)?.is_some() {
                entries.next_value_seed(self)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn what_can_be_read_back_is_readable() {
        for json in [r#"{"a":[1,-2.5e300,null,true,"\ud83d\ude00"],"b":{}}"#, "1", &nested(100)] {
            check_readable(json.as_bytes(), MOST_NESTING).unwrap();
            serde_json::from_str::<serde_json::Value>(json).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_read_back_says_why() {
        for (json, why) in [
            ("[1e999]", "number out of range"),
            ("{\"a\":-1e400}", "number out of range"),
            (r#"["\ud800"]"#, "hex escape"),
            (r#"{"\udc00":1}"#, "surrogate"),
            ("[NaN]", "expected"),
            ("1 2", "trailing"),
            (&nested(101), "more than 100 levels"),
            (&nested(100_000), "more than 100 levels"),
        ] {
            let error = check_readable(json.as_bytes(), MOST_NESTING).unwrap_err().to_string();
            assert!(error.contains(why), "{json:.40}: {error}");
        }
    }
}
