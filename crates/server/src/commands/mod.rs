//! The command table: a row a command, sorted by name; a file a command (or a small family).

use crate::command::Spec;
use sutra_protocol::Reply;

pub mod acl;
pub mod append;
pub mod auth;
pub mod bitcount;
pub mod bitfield;
pub mod bitop;
pub mod bits;
pub mod cache;
pub mod client;
pub mod command;
pub mod config;
pub(crate) mod container;
pub mod debug;
pub mod del;
pub mod dump;
pub mod expire;
pub mod expiry;
pub mod flush;
pub mod get;
pub mod getset;
pub mod hash;
pub mod hello;
pub mod incr;
pub mod incrbyfloat;
pub mod info;
pub mod latency;
pub mod lcs;
pub mod memory;
pub mod mget;
pub mod monitor;
pub mod multi;
pub mod object;
pub mod ping;
pub mod quit;
pub mod rename;
pub mod restore;
pub mod role;
pub mod save;
pub mod scan;
pub mod select;
pub mod set;
pub mod setbit;
pub mod shutdown;
pub mod slowlog;
pub mod sort;
pub mod strings;
pub mod ttl;
pub mod wait;

/// Every command.
pub static TABLE: &[&Spec] = &[
    &acl::SPEC,
    &append::APPEND,
    &auth::SPEC,
    &save::BGREWRITEAOF,
    &save::BGSAVE,
    &bitcount::BITCOUNT,
    &bitfield::BITFIELD,
    &bitfield::BITFIELD_RO,
    &bitop::SPEC,
    &bitcount::BITPOS,
    &cache::ask::SPEC,
    &cache::emb::MGET,
    &cache::emb::MSET,
    &cache::overview::FEEDBACK,
    &cache::get::SPEC,
    &cache::invalidate::INVALIDATE,
    &cache::lease::LEASE,
    &cache::invalidate::LOG,
    &cache::lookup::SPEC,
    &cache::lease::RELEASE,
    &cache::search::SPEC,
    &cache::set::SPEC,
    &cache::space::SPEC,
    &cache::stats::SPEC,
    &cache::overview::TAGS,
    &cache::overview::TOP,
    &cache::invalidate::UNDO,
    &cache::warm::SPEC,
    &client::SPEC,
    &role::CLUSTER,
    &command::SPEC,
    &config::SPEC,
    &rename::COPY,
    &scan::DBSIZE,
    &debug::SPEC,
    &incr::DECR,
    &incr::DECRBY,
    &del::DEL,
    &multi::DISCARD,
    &dump::SPEC,
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
    &info::SPEC,
    &scan::KEYS,
    &save::LASTSAVE,
    &latency::SPEC,
    &lcs::SPEC,
    &role::LOLWUT,
    &memory::SPEC,
    &mget::MGET,
    &role::MODULE,
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
    &restore::SPEC,
    &role::ROLE,
    &save::SAVE,
    &scan::SCAN,
    &select::SELECT,
    &set::SET,
    &setbit::SETBIT,
    &set::SETEX,
    &set::SETNX,
    &append::SETRANGE,
    &shutdown::SPEC,
    &slowlog::SPEC,
    &sort::SORT,
    &sort::SORT_RO,
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
