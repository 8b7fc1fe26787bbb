//! The command table: a row a command, sorted by name; a file a command (or a small family).

use crate::command::Spec;
use sutra_protocol::Reply;

mod append;
mod auth;
mod bitcount;
mod bitfield;
mod bitop;
mod bits;
pub(crate) mod client;
mod del;
mod expire;
mod expiry;
mod flush;
mod get;
mod getset;
mod hash;
pub(crate) mod hello;
mod incr;
mod incrbyfloat;
mod lcs;
mod mget;
pub(crate) mod monitor;
mod multi;
mod object;
mod ping;
mod quit;
mod rename;
mod scan;
mod select;
mod set;
mod setbit;
mod shutdown;
mod strings;
mod ttl;
mod wait;

/// Every command.
pub static TABLE: &[&Spec] = &[
    &append::APPEND,
    &auth::SPEC,
    &bitcount::BITCOUNT,
    &bitfield::BITFIELD,
    &bitfield::BITFIELD_RO,
    &bitop::SPEC,
    &bitcount::BITPOS,
    &client::SPEC,
    &rename::COPY,
    &scan::DBSIZE,
    &incr::DECR,
    &incr::DECRBY,
    &del::DEL,
    &multi::DISCARD,
    &ping::ECHO,
    &multi::EXEC,
    &del::EXISTS,
    &expire::EXPIRE,
    &expire::EXPIREAT,
    &ttl::EXPIRETIME,
    &flush::FLUSHALL,
    &flush::FLUSHDB,
    &get::SPEC,
    &setbit::GETBIT,
    &getset::GETDEL,
    &getset::GETEX,
    &append::GETRANGE,
    &getset::GETSET,
    &hash::remove::HDEL,
    &hello::SPEC,
    &hash::get::HEXISTS,
    &hash::expire::HEXPIRE,
    &hash::expire::HEXPIREAT,
    &hash::ttl::HEXPIRETIME,
    &hash::get::HGET,
    &hash::getall::HGETALL,
    &hash::remove::HGETDEL,
    &hash::getex::HGETEX,
    &hash::increment::HINCRBY,
    &hash::increment::HINCRBYFLOAT,
    &hash::getall::HKEYS,
    &hash::get::HLEN,
    &hash::get::HMGET,
    &hash::set::HMSET,
    &hash::expire::HPERSIST,
    &hash::expire::HPEXPIRE,
    &hash::expire::HPEXPIREAT,
    &hash::ttl::HPEXPIRETIME,
    &hash::ttl::HPTTL,
    &hash::randfield::HRANDFIELD,
    &hash::scan::HSCAN,
    &hash::set::HSET,
    &hash::setex::HSETEX,
    &hash::set::HSETNX,
    &hash::get::HSTRLEN,
    &hash::ttl::HTTL,
    &hash::getall::HVALS,
    &incr::INCR,
    &incr::INCRBY,
    &incrbyfloat::SPEC,
    &scan::KEYS,
    &lcs::SPEC,
    &mget::MGET,
    &monitor::SPEC,
    &rename::MOVE,
    &mget::MSET,
    &mget::MSETNX,
    &multi::MULTI,
    &object::SPEC,
    &ttl::PERSIST,
    &expire::PEXPIRE,
    &expire::PEXPIREAT,
    &ttl::PEXPIRETIME,
    &ping::PING,
    &set::PSETEX,
    &ttl::PTTL,
    &quit::QUIT,
    &scan::RANDOMKEY,
    &rename::RENAME,
    &rename::RENAMENX,
    &quit::RESET,
    &scan::SCAN,
    &select::SELECT,
    &set::SET,
    &setbit::SETBIT,
    &set::SETEX,
    &set::SETNX,
    &append::SETRANGE,
    &shutdown::SPEC,
    &append::STRLEN,
    &append::SUBSTR,
    &select::SWAPDB,
    &wait::TIME,
    &del::TOUCH,
    &ttl::TTL,
    &del::TYPE,
    &del::UNLINK,
    &multi::UNWATCH,
    &wait::WAIT,
    &multi::WATCH,
];

/// The reply of a HELP subcommand: its lines between Redis's first and last ones.
pub(crate) fn help(command: &str, lines: &[&'static str]) -> Reply<'static> {
    let first = format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let mut all = vec![Reply::Simple(first.into())];
    all.extend(lines.iter().chain(&["HELP", "    Prints this help."]).map(|line| Reply::Simple((*line).into())));
    Reply::Array(all)
}
