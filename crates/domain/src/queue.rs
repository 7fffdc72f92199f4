//! The queues' controls: which stage handlers are paused, and how many of their stages may run at once in the whole
//! fleet. One stream for all of them, decided and folded like a job.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Version;

/// What operators ask of a handler's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueCommand {
    /// Start no more stages of the handler; running ones end as they would.
    Pause { handler: String, reason: Option<String> },
    /// Start stages again.
    Resume { handler: String },
    /// Let at most so many stages of the handler run at once, over all processes; None lifts the limit.
    Limit { handler: String, max_running: Option<u32> },
}

impl QueueCommand {
    /// Whose queue it is about.
    pub fn handler(&self) -> &str {
        match self {
            Self::Pause { handler, .. } | Self::Resume { handler } | Self::Limit { handler, .. } => handler,
        }
    }
}

/// What can have happened to the queues. Shapes are frozen by the golden files in `tests/wire/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueEvent {
    Paused(QueuePaused),
    Resumed(QueueResumed),
    Limited(QueueLimited),
}

/// No stage of the handler is started from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePaused {
    pub handler: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Stages of the handler are started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueResumed {
    pub handler: String,
}

/// At most `max_running` stages of the handler run at once in the fleet; absent for no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLimited {
    pub handler: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
}

/// How one handler's queue is controlled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Control {
    pub paused: bool,
    /// Over all processes; None for no limit.
    pub max_running: Option<u32>,
}

/// The controls of all queues, folded from their events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// How many events were folded.
    pub version: Version,
    controls: BTreeMap<String, Control>,
}

impl Queues {
    /// The control of a handler's queue. One that was never touched runs without a limit.
    pub fn control(&self, handler: &str) -> Control {
        self.controls.get(handler).copied().unwrap_or_default()
    }
}

/// Decides what `command` makes happen. No events means that it is so already.
pub fn decide(queues: &Queues, command: QueueCommand) -> Vec<QueueEvent> {
    match command {
        QueueCommand::Pause { handler, .. } if queues.control(&handler).paused => vec![],
        QueueCommand::Pause { handler, reason } => vec![QueueEvent::Paused(QueuePaused { handler, reason })],
        QueueCommand::Resume { handler } if !queues.control(&handler).paused => vec![],
        QueueCommand::Resume { handler } => vec![QueueEvent::Resumed(QueueResumed { handler })],
        QueueCommand::Limit { handler, max_running }
            if queues.control(&handler).max_running == max_running =>
        {
            vec![]
        }
        QueueCommand::Limit { handler, max_running } => {
            vec![QueueEvent::Limited(QueueLimited { handler, max_running })]
        }
    }
}

/// Folds one event.
pub fn evolve(mut queues: Queues, event: &QueueEvent) -> Queues {
    queues.version = queues.version.next();
    let mut control = |handler: &str, change: &dyn Fn(&mut Control)| {
        change(queues.controls.entry(handler.to_owned()).or_default());
    };
    match event {
        QueueEvent::Paused(QueuePaused { handler, .. }) => control(handler, &|control| control.paused = true),
        QueueEvent::Resumed(QueueResumed { handler }) => control(handler, &|control| control.paused = false),
        QueueEvent::Limited(QueueLimited { handler, max_running }) => {
            control(handler, &|control| control.max_running = *max_running);
        }
    }
    queues
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause() -> QueueCommand {
        QueueCommand::Pause { handler: "research".into(), reason: Some("bill".into()) }
    }

    fn resume() -> QueueCommand {
        QueueCommand::Resume { handler: "research".into() }
    }

    fn limit(max_running: Option<u32>) -> QueueCommand {
        QueueCommand::Limit { handler: "research".into(), max_running }
    }

    /// Obeys commands in turn; returns how many events each made, and the controls in the end.
    fn obey(commands: Vec<QueueCommand>) -> (Vec<usize>, Queues) {
        let mut queues = Queues::default();
        let mut n_events = Vec::new();
        for command in commands {
            let events = decide(&queues, command);
            n_events.push(events.len());
            queues = events.iter().fold(queues, evolve);
        }
        (n_events, queues)
    }

    #[test]
    fn a_repeated_command_makes_no_event() {
        let commands = vec![resume(), pause(), pause(), resume(), resume(), limit(Some(2)), limit(Some(2))];
        assert_eq!(obey(commands).0, [0, 1, 0, 1, 0, 1, 0]);
    }

    #[test]
    fn controls_of_a_handler_are_its_own() {
        let (_, queues) = obey(vec![pause(), limit(Some(3)), limit(None), limit(Some(4))]);
        assert_eq!(queues.control("research"), Control { paused: true, max_running: Some(4) });
        assert_eq!(queues.control("generation"), Control::default());
        assert_eq!(queues.version, Version(4));
    }
}
