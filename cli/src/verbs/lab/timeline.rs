//! Faces for what is no terminal: lines with their times, or facts as JSON.

use std::io::Write;

use runtime::lab::fact::{Fact, Stamped};
use runtime::lab::state::State;
use runtime::lab::world::Face;

use super::words::{self, Tone};

/// One line for each thing that happens.
pub struct Timeline<W: Write> {
    out: W,
    broken: Vec<Stamped>,
}

impl<W: Write> Timeline<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Timeline<W> {
        Timeline { out, broken: vec![] }
    }

    fn flush(&mut self) {
        let broken = std::mem::take(&mut self.broken);
        let Some(first) = broken.first() else { return };
        for (_, line) in words::broken(&broken) {
            self.write(first.ms, &line);
        }
    }

    fn write(&mut self, ms: f64, line: &str) {
        // A reader that went away misses the rest; the laboratory ends as it would.
        let _ = writeln!(self.out, "{:>8.3}  {line}", ms / 1e3).and_then(|()| self.out.flush());
    }
}

impl<W: Write> Face for Timeline<W> {
    fn tell(&mut self, stamped: &Stamped, _state: &State) {
        match stamped.fact {
            Fact::Measured { .. } => return,
            Fact::Broken { .. } => return self.broken.push(stamped.clone()),
            Fact::Summary(_) => {
                self.flush();
                let _ = writeln!(self.out);
                for (_, line) in words::lines(&stamped.fact) {
                    let _ = writeln!(self.out, "{line}");
                }
                return;
            }
            _ => {}
        }
        self.flush();
        for (tone, line) in words::lines(&stamped.fact) {
            let indent = if tone == Tone::Strong { "" } else { "  " };
            self.write(stamped.ms, &format!("{indent}{line}"));
        }
    }

    fn tick(&mut self, _state: &State) {
        self.flush();
    }
}

/// One JSON object for each fact.
pub struct Json;

impl Face for Json {
    fn tell(&mut self, stamped: &Stamped, _state: &State) {
        let mut out = std::io::stdout().lock();
        let _ = serde_json::to_string(stamped).map(|line| writeln!(out, "{line}").and_then(|()| out.flush()));
    }

    fn tick(&mut self, _state: &State) {}
}
