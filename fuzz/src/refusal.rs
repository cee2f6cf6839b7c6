//! Causes of refusals: small limits, and system calls that fail.

use std::sync::Mutex;

use arbitrary::Arbitrary;
use elbowroom::inject::{self, Call, Plan};
use elbowroom::{Budget, ContainerBuilder, Error, Growth, page_size};

/// The settings of a builder.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Limits {
    commit_pages: u8,
    budget_pages: u8,
    window: u8,
    is_named: bool,
}

impl Limits {
    pub(crate) fn commit_limit(&self) -> usize {
        (1 + usize::from(self.commit_pages % 32)) * page_size()
    }

    pub(crate) fn budget(&self) -> Budget {
        Budget::new((1 + usize::from(self.budget_pages % 64)) * page_size())
    }

    pub(crate) fn growth(&self) -> Growth {
        match self.window % 8 {
            0 => Growth::default(),
            pages => Growth::Pages(usize::from(pages)),
        }
    }

    /// Applies the settings to a builder.
    pub(crate) fn apply<C>(
        &self,
        builder: ContainerBuilder<C>,
        budget: &Budget,
    ) -> ContainerBuilder<C> {
        // Named memory does not use the cache of released memory.
        let builder = if self.is_named {
            builder.name("fuzzed")
        } else {
            builder
        };
        builder
            .commit_limit(self.commit_limit())
            .growth(self.growth())
            .budget(budget)
    }
}

/// A system call that will fail, if one of the next few calls is of this kind.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Refusal {
    call: Kind,
    nth: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    Reserve,
    Commit,
    Decommit,
    Populate,
}

impl Refusal {
    pub(crate) fn plan(self) -> Plan {
        let call = match self.call {
            Kind::Reserve => Call::Reserve,
            Kind::Commit => Call::Commit,
            Kind::Decommit => Call::Decommit,
            Kind::Populate => Call::Populate,
        };
        // Otherwise the library would release cached memory and try the call again.
        elbowroom::trim();
        inject::refuse(call, 1 + u64::from(self.nth % 4))
    }
}

/// Leaks a budget after a step that panicked. If the drop of a local variable panics in a function that is about to
/// return an error, Rust leaks the error (rust-lang/rust#47949) and the budget that it names. The container does not
/// cause this leak, so it must not be reported.
pub(crate) fn keep(budget: &Budget) {
    static KEPT: Mutex<Vec<Budget>> = Mutex::new(Vec::new());
    KEPT.lock().expect("no panic under it").push(budget.clone());
}

/// Checks that an error has a cause: a limit, or the call that was made to fail.
pub(crate) fn check(error: &Error, plan: Option<&Plan>) {
    let is_planned = plan.is_some_and(Plan::happened) && error.is_out_of_memory();
    assert!(
        error.is_limit() || is_planned,
        "refused without a reason: {error}"
    );
}
