//! The notation of conversation files: commands as redis-cli takes them, replies as [`Value`] shows them.

use super::value::Value;

/// Splits a command line into arguments: words, `"…"` with `\n \r \t \b \a \xHH \\ \"`, `'…'` with `\'`.
pub(super) fn arguments(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut cursor = Cursor { bytes: line.as_bytes(), at: 0 };
    let mut arguments = Vec::new();
    loop {
        cursor.skip_spaces();
        match cursor.peek() {
            None => return Ok(arguments),
            Some(b'"') => arguments.push(cursor.double_quoted()?),
            Some(b'\'') => arguments.push(cursor.single_quoted()?),
            Some(_) => arguments.push(cursor.until(b" \t").to_vec()),
        }
        if cursor.peek().is_some_and(|byte| byte != b' ' && byte != b'\t') {
            return Err("no space behind a closing quote".into());
        }
    }
}

/// Reads an expected reply.
pub(super) fn expected(line: &str) -> Result<Value, String> {
    let line = line.trim_start();
    if let Some(text) = line.strip_prefix("(error)") {
        // One space belongs to the notation, every other to the text.
        return Ok(Value::Error(text.strip_prefix(' ').unwrap_or(text).into()));
    }
    let line = line.trim_end();
    if !line.starts_with(['"', '[', '{', '(', '~', '>']) {
        return Ok(Value::Simple(line.into()));
    }
    let mut cursor = Cursor { bytes: line.as_bytes(), at: 0 };
    let value = cursor.value()?;
    cursor.skip_spaces();
    match cursor.peek() {
        None => Ok(value),
        Some(_) => Err(format!("more text behind {value}")),
    }
}

/// Whether `text` has the shape of `pattern`: `*` any bytes, `?` one byte, everything else itself.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // On a mismatch only the last star needs to be tried again, one byte further: linear times the number of stars.
    let (mut p, mut t, mut retry) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
        } else if pattern.get(p).is_some_and(|&byte| byte == b'?' || byte == text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star, from)) = retry {
            (p, t, retry) = (star + 1, from + 1, Some((star, from + 1)));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

struct Cursor<'l> {
    bytes: &'l [u8],
    at: usize,
}

impl<'l> Cursor<'l> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += usize::from(byte.is_some());
        byte
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn until(&mut self, ends: &[u8]) -> &'l [u8] {
        let start = self.at;
        while self.peek().is_some_and(|byte| !ends.contains(&byte)) {
            self.at += 1;
        }
        &self.bytes[start..self.at]
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.bytes[self.at..].starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn double_quoted(&mut self) -> Result<Vec<u8>, String> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.next().ok_or("unbalanced quotes")? {
                b'"' => return Ok(text),
                b'\\' => text.push(match self.next().ok_or("unbalanced quotes")? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    b'x' => {
                        let digits = self.bytes.get(self.at..self.at + 2).ok_or("\\x needs two digits")?;
                        self.at += 2;
                        std::str::from_utf8(digits)
                            .ok()
                            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                            .ok_or("\\x needs two hexadecimal digits")?
                    }
                    other => other,
                }),
                other => text.push(other),
            }
        }
    }

    fn single_quoted(&mut self) -> Result<Vec<u8>, String> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.next().ok_or("unbalanced quotes")? {
                b'\'' => return Ok(text),
                b'\\' if self.peek() == Some(b'\'') => {
                    text.push(b'\'');
                    self.at += 1;
                }
                other => text.push(other),
            }
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        self.skip_spaces();
        if self.peek() == Some(b'"') {
            return Ok(Value::Bulk(self.double_quoted()?));
        }
        for (word, value) in [
            ("(nil)", Value::Nil),
            ("(nil-array)", Value::NilArray),
            ("(true)", Value::Boolean(true)),
            ("(false)", Value::Boolean(false)),
        ] {
            if self.take(word) {
                return Ok(value);
            }
        }
        if self.take("[") {
            return Ok(Value::Array(self.list()?));
        }
        if self.take("~[") {
            return Ok(Value::Set(self.list()?));
        }
        if self.take(">[") {
            return Ok(Value::Push(self.list()?));
        }
        if self.take("{") {
            return Ok(Value::Map(self.pairs()?));
        }
        if self.take("(integer) ") {
            let word = self.word();
            return word.parse().map(Value::Integer).map_err(|_| format!("no integer: {word}"));
        }
        if self.take("(double) ") {
            return Ok(Value::Double(self.word()));
        }
        if self.take("(bignum) ") {
            return Ok(Value::BigNumber(self.word()));
        }
        if self.take("(verbatim) ") && self.peek() == Some(b'"') {
            return Ok(Value::Verbatim(self.double_quoted()?));
        }
        if self.take("(error) ") && self.peek() == Some(b'"') {
            return Ok(Value::Error(String::from_utf8_lossy(&self.double_quoted()?).into_owned()));
        }
        let word = self.word();
        if word.is_empty() || word.starts_with('(') {
            return Err(format!("no reply at byte {} ({word})", self.at));
        }
        Ok(word.parse().map_or(Value::Simple(word), Value::Integer))
    }

    fn word(&mut self) -> String {
        String::from_utf8_lossy(self.until(b",]}:")).trim().into()
    }

    fn list(&mut self) -> Result<Vec<Value>, String> {
        let mut items = Vec::new();
        self.skip_spaces();
        if self.take("]") {
            return Ok(items);
        }
        loop {
            items.push(self.value()?);
            self.skip_spaces();
            if self.take("]") {
                return Ok(items);
            }
            if !self.take(",") {
                return Err(format!("neither ',' nor ']' at byte {}", self.at));
            }
        }
    }

    fn pairs(&mut self) -> Result<Vec<(Value, Value)>, String> {
        let mut pairs = Vec::new();
        self.skip_spaces();
        if self.take("}") {
            return Ok(pairs);
        }
        loop {
            let key = self.value()?;
            self.skip_spaces();
            if !self.take(":") {
                return Err(format!("no ':' at byte {}", self.at));
            }
            pairs.push((key, self.value()?));
            self.skip_spaces();
            if self.take("}") {
                return Ok(pairs);
            }
            if !self.take(",") {
                return Err(format!("neither ',' nor '}}' at byte {}", self.at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_as_redis_cli_splits_them() {
        let split = arguments(r#"SET "a b\x00\n\"" 'it\'s' "" plain"#).unwrap();
        assert_eq!(split, [&b"SET"[..], b"a b\0\n\"", b"it's", b"", b"plain"]);
        assert!(arguments("SET \"a").is_err());
        assert!(arguments("SET \"a\"b").is_err());
        assert!(arguments(r#"SET "\xg0""#).is_err());
    }

    #[test]
    fn an_expected_reply_reads_back_what_is_shown() {
        for line in [
            "OK",
            "(error) ERR unknown command 'a', with args beginning with: ",
            "(integer) 3",
            "\"a\\x00\\\"\"",
            "(nil)",
            "(nil-array)",
            "[]",
            "[\"a\", 1, (nil), [OK, (error) \"ERR a, b\"], {}]",
            "{\"a\": (double) 1.5, b: ~[]}",
            ">[invalidate, (bignum) 1]",
            "(true)",
            "(verbatim) \"txt:a\"",
        ] {
            assert_eq!(expected(line).unwrap().to_string(), line, "{line}");
        }
        for line in ["[1", "[1 2", "{1}", "\"a\" b", "(what)", "(integer) x", "[,]"] {
            assert!(expected(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_glob_matches_the_whole_text() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*ab*ab", "aabaab", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a]", "[a]", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), matches, "{pattern} {text}");
        }
    }
}
