//! What the demonstration shows: plain lines, and on a terminal a bar that moves.

use std::io::{self, Write};

/// Columns of a bar.
const BAR_COLUMNS: usize = 40;

/// Where it is shown.
pub struct Screen<'w> {
    out: &'w mut dyn Write,
    is_terminal: bool,
}

impl std::fmt::Debug for Screen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("is_terminal", &self.is_terminal).finish_non_exhaustive()
    }
}

impl<'w> Screen<'w> {
    /// Shows on `out`; what is no terminal gets whole lines only.
    pub fn new(out: &'w mut dyn Write, is_terminal: bool) -> Screen<'w> {
        Screen { out, is_terminal }
    }

    /// A heading.
    pub fn title(&mut self, text: &str) -> io::Result<()> {
        if self.is_terminal { writeln!(self.out, "\n\x1b[1m{text}\x1b[0m") } else { writeln!(self.out, "\n{text}") }
    }

    /// A line of the story.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "  {text}")
    }

    /// A command as a user would type it.
    pub fn command(&mut self, text: &str) -> io::Result<()> {
        if self.is_terminal {
            writeln!(self.out, "  \x1b[36m> {text}\x1b[0m")
        } else {
            writeln!(self.out, "  > {text}")
        }
    }

    /// How far something has come; ends its line when it is done.
    pub fn progress(&mut self, done: usize, all: usize) -> io::Result<()> {
        if !self.is_terminal {
            return Ok(());
        }
        let bar = bar(done as u64, all as u64);
        write!(self.out, "\r  [{bar:<BAR_COLUMNS$}] {done}/{all}")?;
        if done >= all {
            writeln!(self.out)?;
        }
        self.out.flush()
    }

    /// A row for each bin, from the lowest edge up, with a line where the threshold is.
    pub fn histogram(&mut self, bins: &[(f64, u64)], threshold: f64) -> io::Result<()> {
        let most = bins.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let mut is_below = true;
        for (at, (edge, count)) in bins.iter().enumerate() {
            if is_below && *edge >= threshold - 1e-6 {
                is_below = false;
                self.line(&format!("---- {threshold:.2} {} removed from here on", "-".repeat(18)))?;
            }
            // The last bin holds whatever is nearer still.
            let open = if at + 1 == bins.len() { '+' } else { ' ' };
            self.line(format!("{edge:.2}{open} {count:>4} {}", bar(*count, most)).trim_end())?;
        }
        Ok(())
    }
}

/// So many of the columns as `part` is of `whole`; something is never nothing.
fn bar(part: u64, whole: u64) -> String {
    let columns = (part as f64 / whole.max(1) as f64 * BAR_COLUMNS as f64).round() as usize;
    "#".repeat(columns.min(BAR_COLUMNS).max(usize::from(part > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(is_terminal: bool, show: impl FnOnce(&mut Screen<'_>)) -> String {
        let mut out = Vec::new();
        show(&mut Screen::new(&mut out, is_terminal));
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_histogram_has_a_line_where_the_threshold_is() {
        let text = shown(false, |screen| screen.histogram(&[(0.59, 1), (0.6, 80), (0.61, 40)], 0.6).expect("shown"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "  0.59     1 #");
        assert!(lines[1].starts_with("  ---- 0.60"), "{text}");
        assert_eq!(lines[2], format!("  0.60    80 {}", "#".repeat(BAR_COLUMNS)));
        assert_eq!(lines[3], format!("  0.61+   40 {}", "#".repeat(BAR_COLUMNS / 2)));
    }

    #[test]
    fn what_is_no_terminal_gets_no_bar_and_no_colours() {
        let plain = shown(false, |screen| {
            screen.progress(1, 2).expect("shown");
            screen.title("A").expect("shown");
            screen.command("PING").expect("shown");
        });
        assert_eq!(plain, "\nA\n  > PING\n");
        let moving = shown(true, |screen| (1..=2).for_each(|done| screen.progress(done, 2).expect("shown")));
        assert!(moving.starts_with("\r  [####") && moving.ends_with("2/2\n"), "{moving:?}");
    }
}
