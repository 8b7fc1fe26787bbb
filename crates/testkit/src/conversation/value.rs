//! A reply: read from the wire, written in a conversation file, compared.
//!
//! Deliberately not the protocol crate's decoder: a mistake that encoder and decoder share would go unseen.

use std::fmt;

/// A reply, every type of RESP2 and RESP3 told apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// `+text`, written `text`.
    Simple(String),
    /// `-text`, written `(error) text`, inside an array `(error) "text"`.
    Error(String),
    /// `:1`, written `(integer) 1`, inside an array also `1`.
    Integer(i64),
    /// `$…`, written `"text"`.
    Bulk(Vec<u8>),
    /// `$-1` or `_`, written `(nil)`.
    Nil,
    /// `*-1`, written `(nil-array)`.
    NilArray,
    /// `*…`, written `[a, b]`.
    Array(Vec<Value>),
    /// `%…`, written `{a: b, c: d}`.
    Map(Vec<(Value, Value)>),
    /// `~…`, written `~[a, b]`.
    Set(Vec<Value>),
    /// `>…`, written `>[a, b]`.
    Push(Vec<Value>),
    /// `,1.5`, written `(double) 1.5`. The text is compared, not the number.
    Double(String),
    /// `#t` and `#f`, written `(true)` and `(false)`.
    Boolean(bool),
    /// `(123`, written `(bignum) 123`.
    BigNumber(String),
    /// `=…`, written `(verbatim) "txt:…"`.
    Verbatim(Vec<u8>),
}

/// Replies are nested no deeper in any conversation; what nests deeper is a broken stream.
const NESTING_MAX: usize = 64;

impl Value {
    /// Reads one reply: the value and its length in bytes, `None` if bytes are missing, the reason if they are no reply.
    pub fn read(bytes: &[u8]) -> Result<Option<(Value, usize)>, String> {
        let mut reader = Reader { bytes, at: 0 };
        match reader.value(0) {
            Ok(value) => Ok(Some((value, reader.at))),
            Err(Stop::Short) => Ok(None),
            Err(Stop::Broken(why)) => Err(why),
        }
    }

    /// The same value with the elements of every aggregate in one fixed order.
    #[must_use]
    pub fn sorted(self) -> Value {
        fn sort(items: Vec<Value>) -> Vec<Value> {
            let mut items: Vec<Value> = items.into_iter().map(Value::sorted).collect();
            items.sort();
            items
        }
        match self {
            Value::Array(items) => Value::Array(sort(items)),
            Value::Set(items) => Value::Set(sort(items)),
            Value::Push(items) => Value::Push(sort(items)),
            Value::Map(pairs) => {
                let mut pairs: Vec<(Value, Value)> = pairs.into_iter().map(|(k, v)| (k.sorted(), v.sorted())).collect();
                pairs.sort();
                Value::Map(pairs)
            }
            Value::Simple(_)
            | Value::Error(_)
            | Value::Integer(_)
            | Value::Bulk(_)
            | Value::Nil
            | Value::NilArray
            | Value::Double(_)
            | Value::Boolean(_)
            | Value::BigNumber(_)
            | Value::Verbatim(_) => self,
        }
    }

    /// The text that a glob is matched against: a string's own bytes, otherwise the notation.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        match self {
            Value::Bulk(bytes) => bytes.clone(),
            Value::Simple(text) => text.clone().into_bytes(),
            Value::Verbatim(bytes) => bytes.get(4..).unwrap_or_default().to_vec(),
            Value::Error(_)
            | Value::Integer(_)
            | Value::Nil
            | Value::NilArray
            | Value::Array(_)
            | Value::Map(_)
            | Value::Set(_)
            | Value::Push(_)
            | Value::Double(_)
            | Value::Boolean(_)
            | Value::BigNumber(_) => self.to_string().into_bytes(),
        }
    }
}

enum Stop {
    Short,
    Broken(String),
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn line(&mut self) -> Result<&'b str, Stop> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::Short)?;
        self.at += end + 2;
        std::str::from_utf8(&rest[..end]).map_err(|_| Stop::Broken(format!("line is not text: {:?}", &rest[..end])))
    }

    fn blob(&mut self, length: i64) -> Result<Vec<u8>, Stop> {
        let length = usize::try_from(length).map_err(|_| Stop::Broken(format!("length {length}")))?;
        let end = self.at + length;
        let blob = self.bytes.get(self.at..end).ok_or(Stop::Short)?.to_vec();
        match self.bytes.get(end..end + 2) {
            None => Err(Stop::Short),
            Some(b"\r\n") => {
                self.at = end + 2;
                Ok(blob)
            }
            Some(other) => Err(Stop::Broken(format!("{other:?} instead of the end of a bulk"))),
        }
    }

    fn items(&mut self, count: i64, depth: usize) -> Result<Vec<Value>, Stop> {
        (0..count).map(|_| self.value(depth + 1)).collect()
    }

    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        if depth > NESTING_MAX {
            return Err(Stop::Broken(format!("nested deeper than {NESTING_MAX}")));
        }
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| Stop::Broken("empty line".into()))?;
        let number = || rest.parse::<i64>().map_err(|_| Stop::Broken(format!("no number: {line:?}")));
        Ok(match kind {
            "+" => Value::Simple(rest.into()),
            "-" => Value::Error(rest.into()),
            ":" => Value::Integer(number()?),
            "$" if rest == "-1" => Value::Nil,
            "*" if rest == "-1" => Value::NilArray,
            "_" if rest.is_empty() => Value::Nil,
            "$" => Value::Bulk(self.blob(number()?)?),
            "=" => Value::Verbatim(self.blob(number()?)?),
            "*" => Value::Array(self.items(number()?, depth)?),
            "~" => Value::Set(self.items(number()?, depth)?),
            ">" => Value::Push(self.items(number()?, depth)?),
            "%" => {
                let mut flat = self.items(number()? * 2, depth)?.into_iter();
                let mut pairs = Vec::new();
                while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
                    pairs.push((key, value));
                }
                Value::Map(pairs)
            }
            "," => Value::Double(rest.into()),
            "(" => Value::BigNumber(rest.into()),
            "#" if rest == "t" => Value::Boolean(true),
            "#" if rest == "f" => Value::Boolean(false),
            _ => return Err(Stop::Broken(format!("no reply begins with {line:?}"))),
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Error(text) => write!(f, "(error) {text}"),
            Value::Integer(number) => write!(f, "(integer) {number}"),
            Value::Simple(_)
            | Value::Bulk(_)
            | Value::Nil
            | Value::NilArray
            | Value::Array(_)
            | Value::Map(_)
            | Value::Set(_)
            | Value::Push(_)
            | Value::Double(_)
            | Value::Boolean(_)
            | Value::BigNumber(_)
            | Value::Verbatim(_) => self.nested(f),
        }
    }
}

impl Value {
    fn nested(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => f.write_str(text),
            Value::Error(text) => write!(f, "(error) {}", Quoted(text.as_bytes())),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Bulk(bytes) => write!(f, "{}", Quoted(bytes)),
            Value::Nil => f.write_str("(nil)"),
            Value::NilArray => f.write_str("(nil-array)"),
            Value::Array(items) => list(f, "[", items),
            Value::Set(items) => list(f, "~[", items),
            Value::Push(items) => list(f, ">[", items),
            Value::Map(pairs) => {
                f.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    key.nested(f)?;
                    f.write_str(": ")?;
                    value.nested(f)?;
                }
                f.write_str("}")
            }
            Value::Double(text) => write!(f, "(double) {text}"),
            Value::Boolean(true) => f.write_str("(true)"),
            Value::Boolean(false) => f.write_str("(false)"),
            Value::BigNumber(text) => write!(f, "(bignum) {text}"),
            Value::Verbatim(bytes) => write!(f, "(verbatim) {}", Quoted(bytes)),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, open: &str, items: &[Value]) -> fmt::Result {
    f.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        item.nested(f)?;
    }
    f.write_str("]")
}

/// Bytes in double quotes, escaped as redis-cli does.
struct Quoted<'b>(&'b [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                b' '..=b'~' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &[(&[u8], &str)] = &[
        (b"+OK\r\n", "OK"),
        (b"-ERR syntax error\r\n", "(error) ERR syntax error"),
        (b":-7\r\n", "(integer) -7"),
        (b"$5\r\na\"\\\r\n\r\n", "\"a\\\"\\\\\\r\\n\""),
        (b"$-1\r\n", "(nil)"),
        (b"_\r\n", "(nil)"),
        (b"*-1\r\n", "(nil-array)"),
        (b"*3\r\n$1\r\na\r\n:1\r\n*1\r\n-ERR x\r\n", "[\"a\", 1, [(error) \"ERR x\"]]"),
        (b"%1\r\n+k\r\n,1.5\r\n", "{k: (double) 1.5}"),
        (b"~2\r\n#t\r\n#f\r\n", "~[(true), (false)]"),
        (b">1\r\n(12\r\n", ">[(bignum) 12]"),
        (b"=6\r\ntxt:hi\r\n", "(verbatim) \"txt:hi\""),
    ];

    #[test]
    fn every_type_of_reply_is_read_and_shown() {
        for (wire, shown) in WIRE {
            let (value, length) = Value::read(wire).unwrap().unwrap();
            assert_eq!((value.to_string().as_str(), length), (*shown, wire.len()));
        }
    }

    #[test]
    fn a_prefix_of_a_reply_needs_more_bytes() {
        for (wire, _) in WIRE {
            for end in 0..wire.len() {
                assert_eq!(Value::read(&wire[..end]), Ok(None), "{wire:?} cut at {end}");
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for wire in [&b"x\r\n"[..], b"\r\n", b":x\r\n", b"$2\r\nabc\r\n", b"$-2\r\n"] {
            assert!(Value::read(wire).is_err(), "{wire:?}");
        }
    }
}
