//! The steps of compacting and sweeping between which a crash leaves something behind, named for tests.

use std::fmt;
use std::sync::Arc;

/// What was just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A compacted object is written whole and synced, and has no name yet.
    Drafted,
    /// It has its name.
    Placed,
    /// The catalog knows it, and what it replaces.
    Entered,
    /// A dead object's file is gone.
    Deleted,
    /// The catalog has forgotten it.
    Forgotten,
}

impl Step {
    /// What the step is called where a test asks for the process to end at it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drafted => "compact.drafted",
            Self::Placed => "compact.placed",
            Self::Entered => "compact.entered",
            Self::Deleted => "sweep.deleted",
            Self::Forgotten => "sweep.forgotten",
        }
    }
}

/// Called after each step, on the thread that took it.
#[derive(Clone)]
pub struct StepHook(Arc<dyn Fn(Step) + Send + Sync>);

impl StepHook {
    /// Calls `hook` after each step.
    pub fn new(hook: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(crate) fn call(&self, step: Step) {
        (self.0)(step);
    }
}

impl fmt::Debug for StepHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StepHook")
    }
}
