//! One call of [`super::Router::handle`]: the moment it happens at and the effects it comes to.

use super::bond::Move;
use super::{Effect, Event};
use crate::units::Moment;

/// The moment and the effects so far, in order.
pub(super) struct Turn {
    pub(super) now: Moment,
    pub(super) effects: Vec<Effect>,
    /// What members of groups have become, to be told of at the end.
    pub(super) moves: Vec<Move>,
}

impl Turn {
    pub(super) fn at(now: Moment) -> Self {
        Turn { now, effects: Vec::new(), moves: Vec::new() }
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Tells people, where there is something to tell.
    pub(super) fn tell(&mut self, event: impl Into<Option<Event>>) {
        self.effects.extend(event.into().map(Effect::Event));
    }
}
