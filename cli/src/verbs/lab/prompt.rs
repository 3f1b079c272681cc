//! The line that a person types, below the picture.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};
use runtime::lab::world::Message;

/// Lines that can be had back with the arrow keys.
const HISTORY: usize = 100;

/// Shared between the one who reads keys and the one who draws.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    inner: Arc<Mutex<Typed>>,
}

#[derive(Debug, Default)]
struct Typed {
    line: String,
    history: Vec<String>,
    /// How far back in the history the line was taken from.
    back: usize,
}

impl Prompt {
    /// What stands there now.
    pub fn line(&self) -> String {
        self.lock().line.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Typed> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads keys and sends lines, until the world no longer hears.
    pub fn listen(&self, outbox: &SyncSender<Message>) {
        while let Ok(event) = read() {
            let Event::Key(key) = event else { continue };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            let message = self.lock().press(key);
            if message.is_some_and(|message| outbox.send(message).is_err()) {
                return;
            }
        }
    }
}

impl Typed {
    fn press(&mut self, key: KeyEvent) -> Option<Message> {
        match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
            (KeyCode::Char('c'), true) => return Some(Message::Interrupt),
            (KeyCode::Char('d'), true) if self.line.is_empty() => return Some(Message::NoMoreLines),
            (KeyCode::Char('u'), true) => self.line.clear(),
            (KeyCode::Char(c), false) => self.line.push(c),
            (KeyCode::Backspace, _) => drop(self.line.pop()),
            (KeyCode::Up, _) => self.recall(self.back.saturating_add(1)),
            (KeyCode::Down, _) => self.recall(self.back.saturating_sub(1)),
            (KeyCode::Enter, _) => return self.enter(),
            _ => {}
        }
        None
    }

    fn recall(&mut self, back: usize) {
        self.back = back.min(self.history.len());
        let found = self.history.len().checked_sub(self.back).and_then(|at| self.history.get(at));
        self.line = found.cloned().unwrap_or_default();
    }

    fn enter(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        self.back = 0;
        if line.trim().is_empty() {
            return None;
        }
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        self.history.push(line.clone());
        Some(Message::Line(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(typed: &mut Typed, code: KeyCode) -> Option<String> {
        match typed.press(KeyEvent::new(code, KeyModifiers::NONE)) {
            Some(Message::Line(line)) => Some(line),
            _ => None,
        }
    }

    #[test]
    fn a_typed_line_is_sent_and_can_be_had_back() {
        let mut typed = Typed::default();
        for c in "kill pve11".chars() {
            assert_eq!(press(&mut typed, KeyCode::Char(c)), None);
        }
        press(&mut typed, KeyCode::Backspace);
        assert_eq!(press(&mut typed, KeyCode::Enter).as_deref(), Some("kill pve1"));
        assert_eq!(press(&mut typed, KeyCode::Enter), None, "an empty line is none");
        press(&mut typed, KeyCode::Up);
        assert_eq!(typed.line, "kill pve1");
        press(&mut typed, KeyCode::Down);
        assert_eq!(typed.line, "");
    }
}
