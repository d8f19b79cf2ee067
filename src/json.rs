//! Answers as JSON: this writes brackets, commas and names of fields, and serde_json everything else.
//!
//! serde_json searches the names, too, for characters that must be escaped. A list of conversations is names for the most
//! part, and the search was a fifth of the instructions of the whole request; names that stand in the source need none.

use serde::ser::{self, Impossible, Serialize};
use serde_json::{Error, Result};

/// Writes JSON behind what `out` holds. An error leaves an incomplete text there.
///
/// Errors come from values that cannot be JSON: keys of maps that are no strings, variants of enums that hold data.
pub fn write(out: &mut Vec<u8>, value: &impl Serialize) -> Result<()> {
    value.serialize(Writer { out })
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

/// A list or an object that is being written.
struct Compound<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
    end: u8,
}

impl<'a> Writer<'a> {
    fn value(self, value: &(impl Serialize + ?Sized)) -> Result<()> {
        serde_json::to_writer(self.out, value)
    }

    fn begin(self, begin: u8, end: u8) -> Compound<'a> {
        self.out.push(begin);
        Compound { out: self.out, is_empty: true, end }
    }
}

impl Compound<'_> {
    fn comma(&mut self) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
    }

    fn end(self) -> Result<()> {
        self.out.push(self.end);
        Ok(())
    }
}

fn unsupported() -> Error {
    ser::Error::custom("answers hold no enums with data")
}

impl<'a> ser::Serializer for Writer<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = Impossible<(), Error>;

    fn serialize_bool(self, value: bool) -> Result<()> {
        self.value(&value)
    }
    fn serialize_i8(self, value: i8) -> Result<()> {
        self.value(&value)
    }
    fn serialize_i16(self, value: i16) -> Result<()> {
        self.value(&value)
    }
    fn serialize_i32(self, value: i32) -> Result<()> {
        self.value(&value)
    }
    fn serialize_i64(self, value: i64) -> Result<()> {
        self.value(&value)
    }
    fn serialize_u8(self, value: u8) -> Result<()> {
        self.value(&value)
    }
    fn serialize_u16(self, value: u16) -> Result<()> {
        self.value(&value)
    }
    fn serialize_u32(self, value: u32) -> Result<()> {
        self.value(&value)
    }
    fn serialize_u64(self, value: u64) -> Result<()> {
        self.value(&value)
    }
    fn serialize_f32(self, value: f32) -> Result<()> {
        self.value(&value)
    }
    fn serialize_f64(self, value: f64) -> Result<()> {
        self.value(&value)
    }
    fn serialize_char(self, value: char) -> Result<()> {
        self.value(&value)
    }
    fn serialize_str(self, value: &str) -> Result<()> {
        self.value(value)
    }
    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        self.value(value)
    }
    fn serialize_none(self) -> Result<()> {
        self.value(&())
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<()> {
        self.value(&())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        self.value(&())
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<()> {
        self.value(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<()> {
        Err(unsupported())
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'a>> {
        Ok(self.begin(b'[', b']'))
    }
    fn serialize_tuple(self, _: usize) -> Result<Compound<'a>> {
        Ok(self.begin(b'[', b']'))
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>> {
        Ok(self.begin(b'[', b']'))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), Error>> {
        Err(unsupported())
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'a>> {
        Ok(self.begin(b'{', b'}'))
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>> {
        Ok(self.begin(b'{', b'}'))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), Error>> {
        Err(unsupported())
    }
}

impl ser::SerializeSeq for Compound<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.comma();
        value.serialize(Writer { out: self.out })
    }
    fn end(self) -> Result<()> {
        Compound::end(self)
    }
}

impl ser::SerializeTuple for Compound<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        ser::SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Result<()> {
        Compound::end(self)
    }
}

impl ser::SerializeTupleStruct for Compound<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        ser::SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Result<()> {
        Compound::end(self)
    }
}

impl ser::SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.comma();
        let begin = self.out.len();
        key.serialize(Writer { out: self.out })?;
        if self.out.get(begin) != Some(&b'"') {
            return Err(ser::Error::custom("a key is no string"));
        }
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.out.push(b':');
        value.serialize(Writer { out: self.out })
    }
    fn end(self) -> Result<()> {
        Compound::end(self)
    }
}

impl ser::SerializeStruct for Compound<'_> {
    type Ok = ();
    type Error = Error;
    /// Names come from the source, or from `#[serde(rename)]` there: letters.
    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        value.serialize(Writer { out: self.out })
    }
    fn end(self) -> Result<()> {
        Compound::end(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Serialize;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Sample<'a> {
        small: u8,
        negative_one: i32,
        large: u64,
        text: &'a str,
        nothing: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<u8>,
        list: &'a [bool],
        pair: (char, f64),
        r#type: Kind,
        map: BTreeMap<&'a str, Unit>,
        bytes: &'a [u8],
    }

    #[derive(Serialize)]
    enum Kind {
        Plain,
        WithData(u8),
    }

    #[derive(Serialize)]
    struct Unit;

    fn written(value: &impl Serialize) -> String {
        let mut out = b"before ".to_vec();
        write(&mut out, value).unwrap();
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn it_is_what_serde_json_writes() {
        for text in ["", "plain", "quo\"te", "back\\slash", "line\nend", "\u{1f}\u{7f}", "ünï🙂"] {
            let sample = Sample {
                small: 255,
                negative_one: -1,
                large: u64::MAX,
                text,
                nothing: None,
                left_out: None,
                list: &[true, false],
                pair: ('"', 0.5),
                r#type: Kind::Plain,
                map: BTreeMap::from([(text, Unit), ("other", Unit)]),
                bytes: b"ab",
            };
            assert_eq!(written(&sample), serde_json::to_string(&sample).unwrap());
        }
        for empty in [json!([]), json!({}), json!({"a": [], "b": {}, "c": [[], {}]}), Value::Null] {
            assert_eq!(written(&empty), empty.to_string());
        }
    }

    #[test]
    fn what_cannot_be_json_is_an_error() {
        assert!(write(&mut Vec::new(), &BTreeMap::from([(1, 2)])).is_err());
        assert!(write(&mut Vec::new(), &Kind::WithData(1)).is_err());
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6).prop_map(|fields| fields.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_is_written_as_by_serde_json(value in any_value()) {
            prop_assert_eq!(written(&value), value.to_string());
        }
    }
}
