//! From a sentence to what it asks: a measure, a stretch of time, and a topic.
//!
//! Found in this order, each taking its words away: what cannot be answered (comparisons, exclusions), the time, a similarity, named spaces and tags, the
//! measure, and last the topic, which is what stands behind `about`, `for`, `in` or, without these, what is left. Words that say nothing (`show me`) are
//! passed over; others that found no use are named in the answer, never silently dropped.

use super::measure::{Figure, Found, Measure, figure, measures};
use super::vocabulary::{AROUND_TOPIC, COMPARING, COMPARING_IN_HEAD, EXCLUDING, FILLER, STRONG, WEAK};
use super::window::{Window, take_window};
use super::words::{Word, is_swapped, number, words};

/// Bytes of a sentence that are looked at; a longer one is not a question.
pub const SENTENCE_BYTES_MAX: usize = 1000;

/// What a sentence asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What to count.
    pub measure: Measure,
    /// When.
    pub window: Window,
    /// What about, in the words of the sentence; `None`: everything.
    pub topic: Option<String>,
    /// The similarity from which a text belongs to the topic, if the sentence gives one.
    pub similarity: Option<f32>,
    /// In which space.
    pub space: Option<Named>,
    /// With which tag.
    pub tag: Option<String>,
    /// Words that found no use.
    pub ignored: Vec<String>,
}

/// A space that is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// What to take as a topic if there is no such space: `space travel` may be one. `None`: it can only be a space.
    pub otherwise: Option<String>,
}

/// Why a sentence cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUnderstood {
    /// The words that stand in the way.
    pub part: String,
    /// What is wrong with them.
    pub why: &'static str,
}

impl Question {
    /// Reads a sentence.
    ///
    /// # Errors
    /// The part that cannot be understood, or answered.
    pub fn read(sentence: &str) -> Result<Question, NotUnderstood> {
        if sentence.len() > SENTENCE_BYTES_MAX {
            let end = (0..=60).rev().find(|end| sentence.is_char_boundary(*end)).unwrap_or(0);
            return Err(NotUnderstood {
                part: format!("{}...", &sentence[..end]),
                why: "it is longer than a question",
            });
        }
        let words = words(sentence);
        if words.is_empty() {
            return Err(NotUnderstood { part: sentence.trim().to_owned(), why: "there is no word in it" });
        }
        Reading { sentence, used: vec![false; words.len()], words }.question()
    }
}

struct Reading<'s> {
    sentence: &'s str,
    words: Vec<Word>,
    used: Vec<bool>,
}

impl Reading<'_> {
    fn question(mut self) -> Result<Question, NotUnderstood> {
        self.refuse_exclusions()?;
        self.refuse_comparisons(COMPARING, self.words.len())?;
        self.refuse_rates()?;
        let window = self.window()?;
        let similarity = self.similarity();
        let space = self.space();
        let tag = self.name_behind(&["tag", "tagged", "label"]);
        if let Some(tenant) = self.name_behind(&["tenant"]) {
            return Err(NotUnderstood { part: format!("tenant {tenant}"), why: "reads are not recorded by tenant" });
        }
        let asked_most = self.asked_most();
        let ends_with = self.outcome_at_end();
        let preposition = self.preposition(STRONG, 0);
        let head = preposition.unwrap_or(self.words.len());
        self.refuse_comparisons(COMPARING_IN_HEAD, head)?;
        let mut found = measures(&self.words[..head], &self.used[..head]);
        let measure_is_behind = found.is_empty() && asked_most.is_none();
        if measure_is_behind {
            found = measures(&self.words, &self.used);
        }
        found.iter().for_each(|found| self.mark(found.at, found.len));
        let mut measure = match asked_most {
            Some(measure) => Some(measure),
            None => self.one_of(&found)?,
        };
        if let (Some(outcome), None | Some(Measure::Lookups)) = (ends_with, measure) {
            measure = Some(outcome);
        }
        if self.words.iter().any(|word| word.is_any(&["share", "percentage", "percent", "proportion", "fraction", "%"]))
        {
            measure = match measure {
                Some(Measure::Hits) => Some(Measure::HitRate),
                Some(Measure::Misses) => Some(Measure::MissRate),
                other => other,
            };
        }
        if matches!(measure, None | Some(Measure::Latency(_)))
            && let Some((at, figure)) = figure(&self.words, &self.used)
        {
            self.mark(at, 1);
            measure = Some(Measure::Latency(figure));
        }
        let Some(measure) = measure else {
            return Err(NotUnderstood { part: self.sentence.trim().to_owned(), why: "no measure is named in it" });
        };
        let behind = found.first().map_or(0, |found| found.at + found.len);
        let topic = preposition
            .and_then(|at| self.topic_from(at + 1))
            .or_else(|| self.preposition(WEAK, behind).and_then(|at| self.topic_from(at + 1)))
            .or_else(|| self.topic_left());
        let ignored = self.ignored();
        Ok(Question { measure, window, topic, similarity, space, tag, ignored })
    }

    fn mark(&mut self, at: usize, len: usize) {
        self.used[at..at + len].iter_mut().for_each(|used| *used = true);
    }

    /// The words from `begin` to before `end` as they were written.
    fn written(&self, begin: usize, end: usize) -> String {
        self.sentence[self.words[begin].start..self.words[end - 1].end].to_owned()
    }

    fn refuse_exclusions(&self) -> Result<(), NotUnderstood> {
        for (at, word) in self.words.iter().enumerate() {
            let next_is = |words: &str| self.words.get(at + 1).is_some_and(|next| next.is_among(words));
            if word.is_among(EXCLUDING) || (word.is("not") && next_is(STRONG)) || (word.is("other") && next_is("than"))
            {
                let part = self.written(at, self.words.len());
                return Err(NotUnderstood { part, why: "a topic cannot be left out, only asked for" });
            }
        }
        Ok(())
    }

    fn refuse_comparisons(&self, comparing: &str, end: usize) -> Result<(), NotUnderstood> {
        for at in (0..end).filter(|at| !self.used[*at]) {
            let is_hits_to_misses = at > 0
                && self.words[at - 1].is_any(&["hits", "hit"])
                && self.words.get(at + 1).is_some_and(|next| next.is_any(&["misses", "miss"]));
            if self.words[at].is_among(comparing) && !is_hits_to_misses {
                let part = self.written(at, self.words.len());
                return Err(NotUnderstood {
                    part,
                    why: "comparisons and trends are not computed; ask for each side alone",
                });
            }
        }
        Ok(())
    }

    /// `per hour`, `each day`: a figure for each of many stretches of time.
    fn refuse_rates(&self) -> Result<(), NotUnderstood> {
        const UNITS: &[&str] = &["second", "sec", "minute", "min", "hour", "day", "week"];
        for at in 0..self.words.len() {
            let each = self.words[at].is_any(&["per", "each", "every", "by"]);
            let is_rate = each && self.words.get(at + 1).is_some_and(|unit| unit.is_any(UNITS));
            if is_rate || self.words[at].is_any(&["hourly", "daily", "weekly"]) {
                let part = self.written(at, at + 1 + usize::from(is_rate));
                return Err(NotUnderstood { part, why: "one figure is given for one stretch of time" });
            }
        }
        Ok(())
    }

    fn window(&mut self) -> Result<Window, NotUnderstood> {
        let mut take = || {
            take_window(&self.words, &mut self.used).map_err(|(begin, end)| NotUnderstood {
                part: self.sentence[self.words[begin].start..self.words[end - 1].end].to_owned(),
                why: "this time is not known",
            })
        };
        let window = take()?;
        if window != Window::Everything && take()? != Window::Everything {
            return Err(NotUnderstood { part: self.sentence.trim().to_owned(), why: "it names more than one time" });
        }
        Ok(window)
    }

    /// `at least 0.4 similar`, `similarity 0.4`, `similarity of 40%`.
    fn similarity(&mut self) -> Option<f32> {
        let at =
            self.words.iter().position(|word| word.is_any(&["similar", "similarity", "similarities", "threshold"]))?;
        let near =
            (at.saturating_sub(2)..(at + 5).min(self.words.len())).filter(|near| *near != at && !self.used[*near]);
        let (near, mut value) = near.filter_map(|near| Some((near, number(&self.words[near])?))).next()?;
        let percent = self.words.get(near + 1).is_some_and(|word| word.is_any(&["%", "percent"]));
        if percent {
            value /= 100.0;
        }
        if !(value > 0.0 && value <= 1.0) {
            return None;
        }
        let (mut begin, end) = (at.min(near), at.max(near + usize::from(percent)) + 1);
        while begin > 0 && self.words[begin - 1].is_any(&["at", "least", "a", "the", "with", "and", "of"]) {
            begin -= 1;
        }
        self.mark(begin, end - begin);
        Some(value as f32)
    }

    /// `in space support`, `in the support space`, `space:support`.
    fn space(&mut self) -> Option<Named> {
        let joined = self
            .words
            .iter()
            .position(|word| word.text.starts_with("space:") && word.text.len() > 6 && !self.used_of(word));
        if let Some(at) = joined {
            let name = self.written(at, at + 1)["space:".len()..].to_owned();
            let begin = self.lead_in(at);
            self.mark(begin, at + 1 - begin);
            return Some(Named { name, otherwise: None });
        }
        let at = (0..self.words.len()).find(|at| !self.used[*at] && self.words[*at].is_any(&["space", "spaces"]))?;
        let begin = self.lead_in(at);
        let led_by_in = self.words[begin].is_any(&["in", "within", "of", "inside"]) && begin < at;
        // `the support space` names what stands before, `space support` what stands behind.
        let before = at.checked_sub(1).filter(|before| {
            !self.used[*before] && !self.words[*before].is_among(AROUND_TOPIC) && !self.words[*before].is("per")
        });
        let behind = at + 1;
        let run_end = (behind..self.words.len()).find(|end| self.used[*end]).unwrap_or(self.words.len());
        let named_end =
            (behind..run_end).rev().find(|at| !self.words[*at].is_among(AROUND_TOPIC)).map_or(behind, |last| last + 1);
        if named_end > behind && !self.is_filler(behind) && (before.is_none() || begin < at) {
            let name = self.written(behind, behind + 1);
            let is_name = led_by_in || self.words[behind].quoted;
            if is_name || named_end == behind + 1 {
                let otherwise = (!is_name).then(|| self.written(at, named_end));
                self.mark(begin, behind + 1 - begin);
                return Some(Named { name, otherwise });
            }
            return None;
        }
        let before = before?;
        let begin = self.lead_in(before);
        let led_in = self.words[begin..before].iter().any(|word| word.is_any(&["in", "within", "of", "inside", "for"]));
        let article = self.words[begin..before].iter().any(|word| word.is_any(&["the", "our"]));
        if !led_in && !article {
            return None;
        }
        let name = self.written(before, before + 1);
        let otherwise = (!led_in).then(|| self.written(before, at + 1));
        self.mark(begin, at + 1 - begin);
        Some(Named { name, otherwise })
    }

    fn used_of(&self, word: &Word) -> bool {
        self.words.iter().position(|other| other.start == word.start).is_some_and(|at| self.used[at])
    }

    /// Where the prepositions and articles in front of a word begin.
    fn lead_in(&self, at: usize) -> usize {
        let mut begin = at;
        while begin > 0
            && !self.used[begin - 1]
            && self.words[begin - 1].is_any(&["in", "within", "of", "for", "inside", "with", "the", "our"])
        {
            begin -= 1;
        }
        begin
    }

    /// The word behind one of these.
    fn name_behind(&mut self, names: &[&str]) -> Option<String> {
        let at = (0..self.words.len()).find(|at| !self.used[*at] && self.words[*at].is_any(names))?;
        let mut behind = at + 1;
        while self.words.get(behind).is_some_and(|word| word.is_any(&["with", "as", "named", "called"])) {
            behind += 1;
        }
        if behind >= self.words.len() || self.used[behind] {
            return None;
        }
        let name = self.written(behind, behind + 1);
        let begin = self.lead_in(at);
        self.mark(begin, behind + 1 - begin);
        Some(name)
    }

    /// `questions about cards missed the most`: a list that is asked for behind its topic.
    fn asked_most(&mut self) -> Option<Measure> {
        let most = (0..self.words.len()).rev().find(|at| !self.used[*at] && self.words[*at].is("most"))?;
        let mut verb = most.checked_sub(1)?;
        verb -= usize::from(verb > 0 && self.words[verb].is("the"));
        let is_verb = self.words[verb].is_any(&["miss", "missed", "misses", "hit", "hits", "asked", "used", "read"]);
        let is_end =
            (most + 1..self.words.len()).all(|at| self.used[at] || self.words[at].is_any(&["often", "of", "all"]));
        let head_lists = self.words[..verb]
            .iter()
            .any(|word| word.is_any(&["questions", "keys", "entries", "queries", "lookups", "requests"]));
        if !is_verb || !is_end || !head_lists || self.used[verb] {
            return None;
        }
        let misses = self.words[verb].text.starts_with("miss");
        self.used[verb..].iter_mut().for_each(|used| *used = true);
        let head = self.words[..verb]
            .iter()
            .position(|word| word.is_any(&["questions", "keys", "entries", "queries", "lookups", "requests"]));
        head.into_iter().for_each(|at| self.mark(at, 1));
        Some(if misses { Measure::TopMisses(5) } else { Measure::Top(5) })
    }

    /// `questions about cards were answered`: an outcome behind the topic.
    fn outcome_at_end(&mut self) -> Option<Measure> {
        let end = (0..self.words.len()).rev().find(|at| {
            !self.used[*at] && !self.words[*at].is_any(&["from", "by", "in", "the", "cache", "there", "found"])
        })?;
        let is_led_in = end > 0 && self.words[end - 1].is_any(&["were", "was", "are", "is", "been", "got"]);
        let measure = match self.words[end].text.as_str() {
            "answered" | "served" | "hits" | "hit" | "cached" => Measure::Hits,
            "missed" | "misses" | "unanswered" => Measure::Misses,
            _ => return None,
        };
        if !is_led_in || self.words[end].quoted || end < 2 || self.preposition(STRONG, 0).is_none_or(|at| at > end) {
            return None;
        }
        self.used[end - 1..].iter_mut().for_each(|used| *used = true);
        Some(measure)
    }

    /// The one measure that is meant by those that are named.
    fn one_of(&self, found: &[Found]) -> Result<Option<Measure>, NotUnderstood> {
        let is_outcome = |measure: Measure| {
            matches!(measure, Measure::Hits | Measure::Misses | Measure::HitRate | Measure::MissRate)
        };
        // `how many lookups were hits`, `evicted entries`, `cost saved by hits`: the noun says of what, or by what.
        let says_of_what = |measure: Measure| match measure {
            Measure::Lookups | Measure::Entries => 2,
            Measure::Hits | Measure::Misses | Measure::Writes => 1,
            Measure::HitRate
            | Measure::MissRate
            | Measure::Evictions
            | Measure::Expirations
            | Measure::Invalidations
            | Measure::Latency(_)
            | Measure::Memory
            | Measure::CostSaved
            | Measure::Top(_)
            | Measure::TopMisses(_) => 0,
        };
        let mut meant: Vec<Measure> = Vec::new();
        found.iter().map(|found| found.measure).for_each(|measure| {
            if !meant.contains(&measure) {
                meant.push(measure);
            }
        });
        if meant.len() > 1 && meant.iter().all(|measure| is_outcome(*measure) || *measure == Measure::Lookups) {
            let outcomes: Vec<Measure> = meant.iter().copied().filter(|measure| is_outcome(*measure)).collect();
            return Ok(Some(if let [one] = outcomes[..] { one } else { Measure::HitRate }));
        }
        let least = meant.iter().map(|measure| says_of_what(*measure)).min().unwrap_or(0);
        // How long a hit takes is not how long a read takes.
        let is_latency_of_part = meant.iter().any(|measure| matches!(measure, Measure::Latency(_)))
            && meant.iter().any(|measure| matches!(measure, Measure::Hits | Measure::Misses | Measure::Writes));
        if !is_latency_of_part {
            meant.retain(|measure| says_of_what(*measure) == least);
        }
        match meant[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [..] => {
                let (first, last) = (found[0], found[found.len() - 1]);
                Err(NotUnderstood {
                    part: self.written(first.at, last.at + last.len),
                    why: "it names more than one measure; ask for one at a time",
                })
            }
        }
    }

    /// The first of these prepositions that is not used and has something behind it.
    fn preposition(&self, kind: &str, from: usize) -> Option<usize> {
        (from..self.words.len()).find(|at| {
            let behind = at + 1;
            !self.used[*at]
                && self.words[*at].is_among(kind)
                && self.words.get(behind).is_some_and(|_| !self.used[behind])
        })
    }

    /// The topic that begins here and ends where words are used otherwise.
    fn topic_from(&mut self, begin: usize) -> Option<String> {
        let end = (begin..self.words.len()).find(|at| self.used[*at]).unwrap_or(self.words.len());
        let (begin, end) = self.trimmed(begin, end)?;
        self.mark(begin, end - begin);
        Some(self.written(begin, end))
    }

    /// Without prepositions: the longest run of words that are no fillers, `financial data` in `financial data hit rate`.
    fn topic_left(&mut self) -> Option<String> {
        let mut runs = Vec::new();
        let mut begin = 0;
        while begin < self.words.len() {
            let end = (begin..self.words.len()).find(|at| self.used[*at]).unwrap_or(self.words.len());
            if begin < end
                && let Some((begin, end)) = self.without_fillers(begin, end)
            {
                runs.push((begin, end));
            }
            begin = end.max(begin) + 1;
        }
        let (begin, end) =
            runs.into_iter().reduce(|best, next| if next.1 - next.0 > best.1 - best.0 { next } else { best })?;
        self.mark(begin, end - begin);
        Some(self.written(begin, end))
    }

    fn trimmed(&self, mut begin: usize, mut end: usize) -> Option<(usize, usize)> {
        while begin < end && self.words[begin].is_among(AROUND_TOPIC) {
            begin += 1;
        }
        while begin < end && self.words[end - 1].is_among(AROUND_TOPIC) {
            end -= 1;
        }
        (begin < end && !(begin..end).all(|at| self.is_filler(at))).then_some((begin, end))
    }

    fn without_fillers(&self, mut begin: usize, mut end: usize) -> Option<(usize, usize)> {
        while begin < end && self.is_filler(begin) {
            begin += 1;
        }
        while begin < end && self.is_filler(end - 1) {
            end -= 1;
        }
        (begin < end).then_some((begin, end))
    }

    fn is_filler(&self, at: usize) -> bool {
        let word = &self.words[at];
        word.is_among(FILLER)
            || word.text == "%"
            || (!word.quoted && FILLER.split(' ').any(|filler| is_swapped(&word.text, filler)))
    }

    fn ignored(&self) -> Vec<String> {
        let left = (0..self.words.len()).filter(|at| {
            !self.used[*at]
                && !self.is_filler(*at)
                && !self.words[*at].is_among(AROUND_TOPIC)
                && !self.words[*at].is_among(STRONG)
        });
        left.map(|at| self.written(at, at + 1)).collect()
    }
}

impl Figure {
    /// How it is called.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Figure::All => String::new(),
            Figure::Average => "average".to_owned(),
            Figure::Percentile(percent) => format!("p{percent}"),
            Figure::Longest => "longest".to_owned(),
        }
    }
}
