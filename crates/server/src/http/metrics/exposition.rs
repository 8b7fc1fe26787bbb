//! The two formats in which metrics are written: [Prometheus text 0.0.4][text] and [OpenMetrics 1.0][open].
//!
//! They differ in the name of a counter's family (without `_total` in OpenMetrics), in `# UNIT`, and in the last line.
//!
//! [text]: https://prometheus.io/docs/instrumenting/exposition_formats/
//! [open]: https://prometheus.io/docs/specs/om/open_metrics_spec/

use super::table::Metric;
use crate::statistics::LATENCY_BUCKETS;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes metrics one after the other.
pub(super) struct Exposition {
    format: Format,
    text: String,
}

/// The samples of one metric, being written.
pub(super) struct Series<'e> {
    metric: &'static Metric,
    text: &'e mut String,
}

impl Exposition {
    pub(super) fn new(format: Format) -> Exposition {
        Exposition { format, text: String::with_capacity(64 * 1024) }
    }

    /// Begins a metric; its samples come next.
    pub(super) fn begin(&mut self, metric: &'static Metric) -> Series<'_> {
        let family = match self.format {
            Format::Text => metric.name,
            Format::OpenMetrics => metric.family(),
        };
        let text = &mut self.text;
        let help = escaped(metric.help, self.format == Format::OpenMetrics);
        text.push_str(&format!("# HELP {family} {help}\n# TYPE {family} {}\n", metric.kind.name()));
        if self.format == Format::OpenMetrics
            && let Some(unit) = metric.unit()
        {
            text.push_str(&format!("# UNIT {family} {unit}\n"));
        }
        Series { metric, text }
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Series<'_> {
    /// The one sample of a metric without labels.
    pub(super) fn one(&mut self, value: impl Into<Number>) {
        self.labelled(&[], value);
    }

    /// A sample; `labels` are the values of the metric's labels, in their order.
    pub(super) fn labelled(&mut self, labels: &[&str], value: impl Into<Number>) {
        self.line("", labels, None, value.into());
    }

    /// A histogram in powers of two of a microsecond, in seconds. Its last bucket holds everything that is longer.
    pub(super) fn histogram(&mut self, labels: &[&str], buckets: &[u64; LATENCY_BUCKETS], sum_ns: u64) {
        let mut count = 0;
        for (index, bucket) in buckets.iter().enumerate() {
            count += bucket;
            let bound = if index + 1 == LATENCY_BUCKETS {
                "+Inf".to_owned()
            } else {
                ((1_u64 << index) as f64 / 1e6).to_string()
            };
            self.line("_bucket", labels, Some(&bound), Number::Whole(count));
        }
        self.line("_sum", labels, None, Number::Real(sum_ns as f64 / 1e9));
        self.line("_count", labels, None, Number::Whole(count));
    }

    fn line(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: Number) {
        debug_assert_eq!(labels.len(), self.metric.labels.len(), "{}", self.metric.name);
        self.text.push_str(self.metric.name);
        self.text.push_str(suffix);
        let named =
            self.metric.labels.iter().copied().zip(labels.iter().copied()).chain(bound.map(|bound| ("le", bound)));
        let mut opening = '{';
        for (name, value) in named {
            self.text.push(opening);
            self.text.push_str(&format!("{name}=\"{}\"", escaped(value, true)));
            opening = ',';
        }
        if opening == ',' {
            self.text.push('}');
        }
        match value {
            Number::Whole(value) => self.text.push_str(&format!(" {value}\n")),
            Number::Real(value) => self.text.push_str(&format!(" {value}\n")),
        }
    }
}

/// A value: whole numbers are written exactly.
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Number {
        Number::Whole(value)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Number {
        Number::Whole(value as u64)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Number {
        Number::Whole(u64::from(value))
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Number {
        Number::Real(value)
    }
}

/// `\` and line ends; in label values, and in OpenMetrics's help texts, quotes too.
fn escaped(text: &str, quotes: bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => safe.push_str("\\\\"),
            '\n' => safe.push_str("\\n"),
            '"' if quotes => safe.push_str("\\\""),
            _ => safe.push(character),
        }
    }
    safe
}
