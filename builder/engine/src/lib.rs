//! Plan, run, store, workspace: where the domain crates meet.
