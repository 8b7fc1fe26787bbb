//! COMMAND DOCS. The arguments are read from the table's notation: `key value [NX | XX] [EX seconds | KEEPTTL] [member ...]`.

use crate::command::{Args, CommandError, Context};
use crate::table::{Command, table};
use sutra_protocol::Reply;

pub(super) fn run<'t>(args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    if args.remaining() == 0 {
        return Ok(Reply::Map(table().top().iter().map(document).collect()));
    }
    let asked = args.rest().iter().filter_map(|name| table().find_full_name(name));
    Ok(Reply::Map(asked.map(document).collect()))
}

fn document(command: &Command) -> (Reply<'static>, Reply<'static>) {
    let spec = command.spec;
    let text = |text: &'static str| Reply::Bulk(text.as_bytes());
    let mut facts = vec![
        (text("summary"), text(spec.summary)),
        (text("since"), text(spec.since)),
        (text("group"), text(spec.group)),
        (text("complexity"), text(spec.complexity)),
    ];
    let arguments = parse(spec.syntax);
    if !arguments.is_empty() {
        facts.push((text("arguments"), Reply::Array(arguments.iter().map(Argument::reply).collect())));
    }
    if command.has_children() {
        facts.push((text("subcommands"), Reply::Map(table().children(command).iter().map(document).collect())));
    }
    (text(spec.name), Reply::Map(facts))
}

/// An argument as COMMAND DOCS describes it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Argument {
    name: String,
    kind: Kind,
    /// The word before it.
    token: Option<String>,
    optional: bool,
    multiple: bool,
    /// The word is repeated with each value.
    multiple_token: bool,
    parts: Vec<Argument>,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum Kind {
    #[default]
    String,
    Key,
    Integer,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl Argument {
    fn reply(&self) -> Reply<'static> {
        let pair = |key: &'static str, value: &str| (Reply::Bulk(key.as_bytes()), owned(value));
        let kind = match self.kind {
            Kind::String => "string",
            Kind::Key => "key",
            Kind::Integer => "integer",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        };
        let mut facts = vec![pair("name", &self.name), pair("type", kind)];
        if self.kind == Kind::Key {
            facts.push((Reply::Bulk(b"key_spec_index"), Reply::Integer(0)));
        }
        if let Some(token) = &self.token {
            facts.push(pair("token", token));
        }
        let flags: Vec<Reply<'static>> =
            [("optional", self.optional), ("multiple", self.multiple), ("multiple_token", self.multiple_token)]
                .into_iter()
                .filter_map(|(name, set)| set.then_some(Reply::simple(name)))
                .collect();
        if !flags.is_empty() {
            facts.push((Reply::Bulk(b"flags"), Reply::Set(flags)));
        }
        if !self.parts.is_empty() {
            facts.push((Reply::Bulk(b"arguments"), Reply::Array(self.parts.iter().map(Argument::reply).collect())));
        }
        Reply::Map(facts)
    }
}

fn owned(text: &str) -> Reply<'static> {
    Reply::BulkOwned(text.as_bytes().to_vec())
}

/// Reads the notation. What is in brackets is optional, what is in parentheses is not; `|` separates alternatives; a word in capitals is
/// a token; `x [x ...]` means one or more.
fn parse(syntax: &str) -> Vec<Argument> {
    let spaced =
        syntax.replace('[', " [ ").replace(']', " ] ").replace('|', " | ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    sequence(&mut rest)
}

fn sequence(words: &mut &[&str]) -> Vec<Argument> {
    let mut choices: Vec<Vec<Argument>> = vec![Vec::new()];
    while let Some((word, rest)) = words.split_first() {
        *words = rest;
        let arguments = choices.last_mut().expect("begins with one");
        match *word {
            "]" | ")" => break,
            "|" => choices.push(Vec::new()),
            "..." => {
                if let Some(last) = arguments.last_mut() {
                    last.multiple = true;
                }
            }
            "(" => {
                let inner = sequence(words);
                arguments.push(group(inner, Kind::Block));
            }
            "[" => {
                let inner = sequence(words);
                let is_repetition = inner.iter().any(|argument| argument.multiple)
                    && inner.len() <= arguments.len()
                    && arguments[arguments.len() - inner.len()..]
                        .iter()
                        .zip(&inner)
                        .all(|(before, again)| before.name == again.name);
                if is_repetition {
                    let repeated = arguments.split_off(arguments.len() - inner.len());
                    let mut one = group(repeated, Kind::Block);
                    one.multiple = true;
                    one.multiple_token =
                        one.token.is_some() && inner.first().is_some_and(|first| first.token.is_some());
                    arguments.push(one);
                } else if !inner.is_empty() {
                    let mut one = group(inner, Kind::Block);
                    one.optional = true;
                    arguments.push(one);
                }
            }
            token if token.starts_with(|first: char| first.is_ascii_uppercase()) => {
                arguments.push(Argument {
                    name: token.to_ascii_lowercase(),
                    kind: Kind::PureToken,
                    token: Some(token.to_owned()),
                    ..Argument::default()
                });
            }
            name => {
                let value = Argument { name: name.to_owned(), kind: kind_of(name), ..Argument::default() };
                match arguments.last_mut() {
                    // The token before a value belongs to it, unless it is complete.
                    Some(token) if token.kind == Kind::PureToken => {
                        *token = Argument { token: token.token.take(), ..value };
                    }
                    Some(_) | None => arguments.push(value),
                }
            }
        }
    }
    if choices.len() == 1 {
        return choices.pop().unwrap_or_default();
    }
    let parts: Vec<Argument> =
        choices.into_iter().filter(|choice| !choice.is_empty()).map(|choice| group(choice, Kind::Block)).collect();
    let name = parts.first().map_or_else(String::new, |first| first.name.clone());
    vec![Argument { name, kind: Kind::OneOf, parts, ..Argument::default() }]
}

/// Several arguments as one.
fn group(mut arguments: Vec<Argument>, kind: Kind) -> Argument {
    if arguments.len() == 1 {
        return arguments.remove(0);
    }
    let name = arguments.iter().map(|argument| argument.name.as_str()).collect::<Vec<_>>().join("-");
    Argument { name, kind, parts: arguments, ..Argument::default() }
}

fn kind_of(name: &str) -> Kind {
    match name {
        "key" | "key1" | "key2" | "newkey" | "source" | "destination" | "destkey" => Kind::Key,
        "pattern" => Kind::Pattern,
        "seconds" | "milliseconds" | "count" | "offset" | "index" | "index1" | "index2" | "start" | "end" | "ttl"
        | "timeout" | "cursor" | "increment" | "decrement" | "numfields" | "numreplicas" | "client-id" | "protover"
        | "maxage" | "bit" | "frequency" | "destination-db" | "db" => Kind::Integer,
        "unix-time-seconds" | "unix-time-milliseconds" => Kind::UnixTime,
        _ => Kind::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(syntax: &str) -> Vec<String> {
        fn show(argument: &Argument) -> String {
            let mut text = match &argument.token {
                Some(token) if argument.kind == Kind::PureToken => token.clone(),
                Some(token) => format!("{token}={}", argument.name),
                None => argument.name.clone(),
            };
            if !argument.parts.is_empty() {
                let inner: Vec<String> = argument.parts.iter().map(show).collect();
                text = format!("{:?}({})", argument.kind, inner.join(" "));
            }
            format!("{text}{}{}", if argument.optional { "?" } else { "" }, if argument.multiple { "+" } else { "" })
        }
        parse(syntax).iter().map(show).collect()
    }

    #[test]
    fn the_notation_is_read_as_redis_documents_it() {
        assert_eq!(of(""), [""; 0]);
        assert_eq!(of("key [key ...]"), ["key+"]);
        assert_eq!(of("key value [key value ...]"), ["Block(key value)+"]);
        assert_eq!(
            of("key value [NX | XX] [GET] [EX seconds | KEEPTTL]"),
            ["key", "value", "OneOf(NX XX)?", "GET?", "OneOf(EX=seconds KEEPTTL)?"]
        );
        assert_eq!(of("[username] password"), ["username?", "password"]);
        assert_eq!(of("(FP32 blob | TEXT text) [LEASE]"), ["OneOf(FP32=blob TEXT=text)", "LEASE?"]);
        assert_eq!(
            of("[protover [AUTH username password] [SETNAME clientname]]"),
            ["Block(protover Block(AUTH=username password)? SETNAME=clientname?)?"]
        );
    }

    #[test]
    fn every_syntax_in_the_table_can_be_read() {
        for command in table().all() {
            let (open, close) = (command.spec.syntax.matches('[').count(), command.spec.syntax.matches(']').count());
            assert_eq!(open, close, "{}: {}", command.spec.name, command.spec.syntax);
            assert_eq!(parse(command.spec.syntax).is_empty(), command.spec.syntax.is_empty(), "{}", command.spec.name);
        }
    }
}
