//! The story: what is sent, what is said about it, and what came back.

use super::client::{Address, Client};
use super::questions::{Question, questions};
use super::screen::Screen;
use crate::analytics::figures::{count, percent};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};
use sutra_protocol::Frame;

/// The space of the demonstration, and the beginning of its keys.
pub const SPACE: &str = "demo";
/// Questions that come in once the others are answered and stored.
pub const ASKED: usize = 308;
/// From this similarity on an answer is used again.
pub const MIN_LOOKUP: &str = "0.8";
/// What is invalidated: everything so near to this.
pub const CHANGED: (&str, &str) = ("exchange rates", "0.6");
/// What recomputing an answer is said to cost, in dollars.
const COST: &str = "0.002";
const CREATE: [&str; 9] = [
    "CACHE.SPACE",
    "CREATE",
    SPACE,
    "DIM",
    "256",
    "EMBEDDER",
    "builtin:static-256-v1",
    "GUARD",
    "numbers,dates,ids,negation",
];
const PIPELINE: usize = 64;
const PARAPHRASE: &str = "How can I get my PIN unblocked, please?";
const STORED: &str = "How do I enable two-factor authentication?";
const OPPOSITE: &str = "How do I disable two-factor authentication?";
const FORGOTTEN: &str = "What are your opening hours?";

/// What the demonstration has seen; what it says is made from this.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Questions stored.
    pub loaded: usize,
    /// How long that took.
    pub loading: Duration,
    /// Questions that came in afterwards.
    pub traffic: Traffic,
    /// What was found for a paraphrase.
    pub hit: Found,
    /// What is near to the opposite of a question, and was not given out.
    pub near_miss: Found,
    /// What a dry run counted.
    pub would_remove: u64,
    /// What the invalidation removed.
    pub removed: u64,
    /// Entries in the space before and after.
    pub entries: (u64, u64),
    /// Entries as near that were found afterwards.
    pub left: usize,
    /// What a write was told whose answer was overtaken by an invalidation.
    pub refused: String,
    /// Questions in words and their answers.
    pub asked: Vec<(String, String)>,
}

/// How questions that came in were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many came.
    pub lookups: u64,
    /// How many had an answer.
    pub hits: u64,
    /// How many of these got the answer of a question with their own label.
    pub right: u64,
}

/// An entry that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its key.
    pub key: String,
    /// How near it is.
    pub similarity: f64,
    /// How much nearer than the next.
    pub margin: Option<f64>,
}

/// Why the demonstration ended early.
#[derive(Debug)]
pub enum DemoError {
    /// The connection, or the screen.
    Io(io::Error),
    /// The server answered something else than it should.
    Unexpected {
        /// The command.
        command: String,
        /// Its reply.
        reply: String,
    },
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> DemoError {
        DemoError::Io(error)
    }
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemoError::Io(error) => error.fmt(f),
            DemoError::Unexpected { command, reply } => write!(f, "the server answered {command} with {reply}"),
        }
    }
}

impl std::error::Error for DemoError {}

/// Tells the whole story to the server at this address. What it stores is dropped at the end unless `keep` is set.
///
/// # Errors
/// A connection that fails, or a reply that does not fit: the story ends there.
pub fn play(address: &Address, keep: bool, screen: &mut Screen<'_>) -> Result<Report, DemoError> {
    let mut story = Story { client: Client::connect(address)?, address, screen, questions: questions() };
    // Where there is such a space already, nothing is done, and nothing dropped.
    story.say(&CREATE)?;
    let result = story.tell();
    if !keep {
        // Also after a failure: a server of the user's own shall be left as it was.
        story.client.ask(&["CACHE.SPACE", "DROP", SPACE])?;
    }
    result
}

struct Story<'s, 'w> {
    client: Client,
    address: &'s Address,
    screen: &'s mut Screen<'w>,
    questions: Vec<Question>,
}

impl Story<'_, '_> {
    fn tell(&mut self) -> Result<Report, DemoError> {
        let (loaded, loading) = self.load()?;
        let traffic = self.traffic(loaded)?;
        let hit = self.hit()?;
        let near_miss = self.near_miss()?;
        let (would_remove, removed, entries, left) = self.invalidate()?;
        let refused = self.stale_write()?;
        let asked = self.ask()?;
        Ok(Report { loaded, loading, traffic, hit, near_miss, would_remove, removed, entries, left, refused, asked })
    }

    /// Stores all questions but the last, each with an answer.
    fn load(&mut self) -> Result<(usize, Duration), DemoError> {
        let loaded = self.questions.len() - ASKED;
        self.screen.title("1. Answers that an application has computed, stored by what was asked")?;
        self.screen.command(&format!(
            "CACHE.SET {SPACE}:q:0 <answer> IN {SPACE} TEXT \"{}\" TAG 1 intent:{} COST {COST} EX 3600",
            self.questions[0].text, self.questions[0].intent
        ))?;
        let began = Instant::now();
        for start in (0..loaded).step_by(PIPELINE) {
            let end = (start + PIPELINE).min(loaded);
            let requests: Vec<Vec<String>> = (start..end).map(|number| set(number, &self.questions[number])).collect();
            for (request, reply) in requests.iter().zip(self.client.ask_all(&requests)?) {
                expect_ok(&request.join(" "), &reply)?;
            }
            self.screen.progress(end, loaded)?;
        }
        let loading = began.elapsed();
        let rate = (loaded as f64 / loading.as_secs_f64().max(1e-6)) as u64;
        self.screen.line(&format!(
            "{} real questions embedded and stored in {:.2} s: {} a second",
            count(loaded as u64),
            loading.as_secs_f64(),
            count(rate)
        ))?;
        Ok((loaded, loading))
    }

    /// The last questions come in: none of them was ever seen in these words.
    fn traffic(&mut self, loaded: usize) -> Result<Traffic, DemoError> {
        self.screen.title("2. Customers ask the same things in other words")?;
        let mut traffic = Traffic::default();
        let incoming: Vec<Question> = self.questions[loaded..].to_vec();
        for question in &incoming {
            let found = self.lookup(&question.text)?;
            traffic.lookups += 1;
            traffic.hits += u64::from(found.is_some());
            let intent_of = |key: &str| {
                key.rsplit(':')
                    .next()?
                    .parse()
                    .ok()
                    .and_then(|number: usize| self.questions.get(number))
                    .map(|question| &question.intent)
            };
            traffic.right += u64::from(found.is_some_and(|found| intent_of(&found.key) == Some(&question.intent)));
        }
        self.screen.line(&format!(
            "{} questions that were never seen before: {} answered from the cache ({}),",
            count(traffic.lookups),
            count(traffic.hits),
            percent(traffic.hits, traffic.lookups)
        ))?;
        self.screen.line(&format!(
            "{} of these ({}) with the answer to a question that people had given the same label",
            count(traffic.right),
            percent(traffic.right, traffic.hits)
        ))?;
        Ok(traffic)
    }

    fn hit(&mut self) -> Result<Found, DemoError> {
        self.screen.title("3. A semantic hit")?;
        self.screen.command(&format!("CACHE.LOOKUP {SPACE} TEXT \"{PARAPHRASE}\" MIN {MIN_LOOKUP} WITHSCORE"))?;
        let found = self.lookup(PARAPHRASE)?.ok_or_else(|| unexpected("CACHE.LOOKUP", &Frame::Null))?;
        let stored = self.question_of(&found.key);
        let margin = found.margin.map_or(String::new(), |margin| format!(", {margin:.3} nearer than the next"));
        self.screen
            .line(&format!("{} was stored for \"{stored}\": similarity {:.3}{margin}", found.key, found.similarity))?;
        Ok(found)
    }

    /// A question and its opposite are near to each other, and must not share an answer.
    fn near_miss(&mut self) -> Result<Found, DemoError> {
        self.screen.title("4. A near miss that is not a hit")?;
        let key = format!("{SPACE}:2fa");
        self.say(&[
            "CACHE.SET",
            &key,
            "Settings, Security, Two-factor: on.",
            "IN",
            SPACE,
            "TEXT",
            STORED,
            "EX",
            "3600",
        ])?;
        let reply = self.say(&["CACHE.SEARCH", SPACE, "TEXT", OPPOSITE, "COUNT", "1"])?;
        let near = items(&reply).first().and_then(|first| found_in(items(first)));
        let near = near.ok_or_else(|| unexpected("CACHE.SEARCH", &reply))?;
        self.screen.line(&format!("\"{OPPOSITE}\" is {:.3} near to the stored", near.similarity))?;
        self.screen.line(&format!("\"{STORED}\": no threshold tells them apart"))?;
        self.screen.command(&format!("CACHE.LOOKUP {SPACE} TEXT \"{OPPOSITE}\" MIN {MIN_LOOKUP}"))?;
        if let Some(found) = self.lookup(OPPOSITE)? {
            return Err(DemoError::Unexpected { command: "CACHE.LOOKUP".to_owned(), reply: format!("{found:?}") });
        }
        self.screen.line("(nil): the guard of the space saw that one enables what the other disables")?;
        Ok(near)
    }

    fn invalidate(&mut self) -> Result<(u64, u64, (u64, u64), usize), DemoError> {
        let (text, min) = CHANGED;
        self.screen.title("5. The exchange rates change: everything that was said about them goes, exactly")?;
        let condition = ["CACHE.INVALIDATE", "IN", SPACE, "TEXT", text, "MIN", min];
        self.screen.command(&format!("CACHE.INVALIDATE IN {SPACE} TEXT \"{text}\" MIN {min} DRYRUN COUNT 3"))?;
        let reply = self.say(&[condition.as_slice(), &["DRYRUN", "COUNT", "3"]].concat())?;
        let parts = items(&reply);
        let would_remove =
            parts.first().and_then(integer).ok_or_else(|| unexpected("CACHE.INVALIDATE DRYRUN", &reply))?;
        self.screen.line(&format!("would remove {} entries, such as", count(would_remove)))?;
        for sample in parts.get(1).map(items).unwrap_or_default() {
            if let Some(found) = found_in(items(sample)) {
                self.screen.line(&format!("  {:.3} \"{}\"", found.similarity, self.question_of(&found.key)))?;
            }
        }
        let bins: Vec<(f64, u64)> = parts
            .get(2)
            .map(items)
            .unwrap_or_default()
            .iter()
            .filter_map(|bin| Some((number(items(bin).first()?)?, integer(items(bin).get(1)?)?)))
            .collect();
        self.screen.line("and how near the entries around the threshold are:")?;
        self.screen.histogram(&bins, min.parse().unwrap_or(0.0))?;
        let before = self.entries()?;
        self.screen.command(&format!("CACHE.INVALIDATE IN {SPACE} TEXT \"{text}\" MIN {min} REASON \"new rates\""))?;
        let reply = self.say(&[condition.as_slice(), &["REASON", "new rates"]].concat())?;
        let removed = integer(&reply).ok_or_else(|| unexpected("CACHE.INVALIDATE", &reply))?;
        let after = self.entries()?;
        let reply = self.say(&["CACHE.SEARCH", SPACE, "TEXT", text, "MIN", min, "COUNT", "1000", "EXACT"])?;
        let left = items(&reply).len();
        self.screen.line(&format!(
            "removed {}; of {} entries {} are left, {left} of them that near",
            count(removed),
            count(before),
            count(after)
        ))?;
        Ok((would_remove, removed, (before, after), left))
    }

    /// An answer that was computed before an invalidation comes too late.
    fn stale_write(&mut self) -> Result<String, DemoError> {
        self.screen.title("6. An answer from before the change cannot come back after it")?;
        let key = format!("{SPACE}:hours");
        let tag = format!("{SPACE}:opening-hours");
        self.screen.command(&format!("CACHE.LEASE {key}"))?;
        let reply = self.say(&["CACHE.LEASE", &key])?;
        let token = match items(&reply) {
            [word, token] if text(word) == "LEASE" => text(token),
            _ => return Err(unexpected("CACHE.LEASE", &reply)),
        };
        self.screen.line("LEASE: a miss, and this client alone computes the answer; meanwhile another client says")?;
        self.screen.command(&format!("CACHE.INVALIDATE TAG 1 {tag}"))?;
        let reply = Client::connect(self.address)?.ask(&["CACHE.INVALIDATE", "TAG", "1", &tag])?;
        integer(&reply).ok_or_else(|| unexpected("CACHE.INVALIDATE", &reply))?;
        self.screen.command(&format!(
            "CACHE.SET {key} \"9 to 17\" IN {SPACE} TEXT \"{FORGOTTEN}\" TAG 1 {tag} LEASE {token}"
        ))?;
        let request = ["CACHE.SET", &key, "9 to 17", "IN", SPACE, "TEXT", FORGOTTEN, "TAG", "1", &tag, "LEASE", &token];
        let reply = self.client.ask(&request)?;
        let Frame::Error(refused) = reply else { return Err(unexpected("CACHE.SET", &reply)) };
        self.screen.line(&format!("({refused})"))?;
        Ok(refused)
    }

    fn ask(&mut self) -> Result<Vec<(String, String)>, DemoError> {
        self.screen.title("7. Questions about the cache, in words")?;
        let mut asked = Vec::new();
        for sentence in [
            format!("Show cache hit rate in space {SPACE} in the last hour"),
            format!("What is the hit rate for exchange rates in space {SPACE} in the last hour?"),
            format!("How much did we save in space {SPACE} in the last hour?"),
            format!("Top 3 misses about refunds in space {SPACE} in the last hour"),
        ] {
            self.screen.command(&format!("CACHE.ASK \"{sentence}\""))?;
            let reply = self.say(&["CACHE.ASK", &sentence])?;
            let answer = text(&reply);
            for line in answer.lines() {
                self.screen.line(line)?;
            }
            asked.push((sentence, answer));
        }
        Ok(asked)
    }

    fn lookup(&mut self, question: &str) -> Result<Option<Found>, DemoError> {
        let reply = self.say(&["CACHE.LOOKUP", SPACE, "TEXT", question, "MIN", MIN_LOOKUP, "WITHSCORE"])?;
        if reply == Frame::Null {
            return Ok(None);
        }
        match items(&reply) {
            [key, _, similarity, margin] => {
                let similarity = number(similarity).ok_or_else(|| unexpected("CACHE.LOOKUP", &reply))?;
                Ok(Some(Found { key: text(key), similarity, margin: number(margin) }))
            }
            _ => Err(unexpected("CACHE.LOOKUP", &reply)),
        }
    }

    /// Entries in the space.
    fn entries(&mut self) -> Result<u64, DemoError> {
        let reply = self.say(&["CACHE.SEARCH", SPACE, "TEXT", CHANGED.0, "MIN", "-1", "COUNT", "10000", "EXACT"])?;
        Ok(items(&reply).len() as u64)
    }

    /// What was asked where this key was stored.
    fn question_of(&self, key: &str) -> String {
        let number: Option<usize> = key.rsplit(':').next().and_then(|number| number.parse().ok());
        number
            .and_then(|number| self.questions.get(number))
            .map_or_else(|| STORED.to_owned(), |question| question.text.clone())
    }

    /// A command that must not answer an error.
    fn say(&mut self, request: &[&str]) -> Result<Frame, DemoError> {
        let reply = self.client.ask(request)?;
        if matches!(reply, Frame::Error(_)) { Err(unexpected(&request.join(" "), &reply)) } else { Ok(reply) }
    }
}

fn set(number: usize, question: &Question) -> Vec<String> {
    let (key, tag) = (format!("{SPACE}:q:{number}"), format!("intent:{}", question.intent));
    let answer = format!("The answer to questions about {}.", question.intent.replace('_', " "));
    ["CACHE.SET", &key, &answer, "IN", SPACE, "TEXT", &question.text, "TAG", "1", &tag, "COST", COST, "EX", "3600"]
        .map(str::to_owned)
        .to_vec()
}

fn expect_ok(command: &str, reply: &Frame) -> Result<(), DemoError> {
    if *reply == Frame::Simple("OK".to_owned()) { Ok(()) } else { Err(unexpected(command, reply)) }
}

fn unexpected(command: &str, reply: &Frame) -> DemoError {
    DemoError::Unexpected { command: command.to_owned(), reply: format!("{reply:?}") }
}

/// The elements of an array; none of anything else.
fn items(frame: &Frame) -> &[Frame] {
    if let Frame::Array(items) = frame { items } else { &[] }
}

fn text(frame: &Frame) -> String {
    if let Frame::Bulk(bytes) | Frame::Verbatim { text: bytes, .. } = frame {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    if let Frame::Simple(text) = frame { text.clone() } else { String::new() }
}

fn integer(frame: &Frame) -> Option<u64> {
    if let Frame::Integer(number) = frame { u64::try_from(*number).ok() } else { None }
}

/// A double, which RESP2 sends as text.
fn number(frame: &Frame) -> Option<f64> {
    if let Frame::Double(number) = frame { Some(*number) } else { text(frame).parse().ok() }
}

/// `[key, similarity]`
fn found_in(pair: &[Frame]) -> Option<Found> {
    Some(Found { key: text(pair.first()?), similarity: number(pair.get(1)?)?, margin: None })
}
