//! What a graph looks like, and whether it is as it must be.

use super::hnsw::Hnsw;
use super::links::NONE;

/// Figures on the bottom level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// How many rows are in.
    pub rows: usize,
    /// How many of them can be reached from the top.
    pub reachable: usize,
    /// Links a row, on average.
    pub links_mean: f64,
    /// The fewest links that a row has.
    pub links_min: usize,
}

impl Hnsw {
    /// Counts links, and walks from the top to all rows that can be reached. For tests and reports: it reads everything.
    pub fn shape(&self) -> Shape {
        let links = self.links();
        let counts = || self.rows().map(|row| links.of(0, row).len());
        Shape {
            rows: links.len(),
            reachable: self.reachable(0),
            links_mean: counts().sum::<usize>() as f64 / links.len().max(1) as f64,
            links_min: counts().min().unwrap_or(0),
        }
    }

    /// Checks every invariant; for tests.
    ///
    /// # Errors
    /// The first one that does not hold.
    pub fn validate(&self) -> Result<(), String> {
        let links = self.links();
        let Some((top, top_level)) = self.top() else {
            return if links.len() == 0 { Ok(()) } else { Err(format!("{} rows and no top", links.len())) };
        };
        if !links.contains(top) || links.level_of(top) < top_level {
            return Err(format!("row {top} is on top, but not on level {top_level}"));
        }
        for row in 0..links.rows() as u32 {
            let level = links.level_of(row);
            if links.contains(row) && level > top_level {
                return Err(format!("row {row} is on level {level}, above the top"));
            }
            for level in 0..=level {
                self.validate_list(level, row)?;
            }
        }
        for level in 0..=top_level {
            let (rows, reachable) =
                (self.rows().filter(|row| links.level_of(*row) >= level).count(), self.reachable(level));
            if rows != reachable {
                return Err(format!("level {level}: {reachable} of {rows} rows can be reached"));
            }
        }
        Ok(())
    }

    fn validate_list(&self, level: u8, row: u32) -> Result<(), String> {
        let links = self.links();
        let list = links.of(level, row);
        if links.list(level, row)[list.len()..].iter().any(|link| *link != NONE) {
            return Err(format!("level {level}, row {row}: something follows the list's end"));
        }
        if !links.contains(row) && !list.is_empty() {
            return Err(format!("level {level}, row {row} is not in but linked"));
        }
        for (place, link) in list.iter().enumerate() {
            if !links.contains(*link) || *link == row || list[..place].contains(link) {
                return Err(format!("level {level}, row {row}: link {place} to {link} must not be"));
            }
            if !links.of(level, *link).contains(&row) {
                return Err(format!("level {level}: {row} is linked with {link}, but not the other way"));
            }
        }
        Ok(())
    }

    fn reachable(&self, level: u8) -> usize {
        let links = self.links();
        let Some((top, _)) = self.top() else { return 0 };
        let mut seen = vec![false; links.rows()];
        let mut open = vec![top];
        seen[top as usize] = true;
        let mut count = 0;
        while let Some(row) = open.pop() {
            count += 1;
            for link in links.of(level, row) {
                if !std::mem::replace(&mut seen[*link as usize], true) {
                    open.push(*link);
                }
            }
        }
        count
    }
}
