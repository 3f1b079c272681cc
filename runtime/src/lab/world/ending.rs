//! The end of a world: what is left undone, the last words of its machines, the summary.

use super::super::command::{self, Command};
use super::super::fact::Fact;
use super::super::state::MachineState;
use super::news::last;
use super::{Message, Outcome, World};

impl World<'_> {
    pub(super) fn end(mut self) -> Outcome {
        if self.failed {
            self.last_words();
        }
        self.state.close();
        self.summary.left = self.left();
        self.summary.disturbances = std::mem::take(&mut self.state.disturbances);
        self.summary.connections = self.state.tally();
        let summary = std::mem::take(&mut self.summary);
        self.tell(Fact::Summary(summary));
        if self.failed { Outcome::Bad } else { Outcome::Good }
    }

    /// The ends of the machines' logs.
    fn last_words(&mut self) {
        let of = |m: &MachineState| last(&m.log.iter().cloned().collect::<Vec<_>>(), &m.name);
        let lines: Vec<String> = self.state.machines.iter().flat_map(of).collect();
        if !lines.is_empty() {
            self.tell(Fact::Lines { lines });
        }
    }

    /// Commands of a script that was broken off.
    fn left(&mut self) -> Vec<String> {
        if !(self.failed && self.strict) {
            return vec![];
        }
        let arrived = std::iter::from_fn(|| self.inbox.try_recv().ok());
        self.queue.extend(arrived.filter_map(|m| if let Message::Line(line) = m { Some(line) } else { None }));
        let is_command = |line: &String| !matches!(command::parse(line), Ok(None | Some(Command::Quit)));
        self.queue.drain(..).filter(is_command).map(|line| line.trim().to_owned()).collect()
    }
}
