//! The machine, cell by cell: what each input does in each place.
//!
//! One module for each letter of the machine's tables, one for the order within a turn, one for time, one for the pace of reads, one for checks
//! that are asked in a phase alone. Every test
//! builds a rollout that is calmly somewhere, changes one fact and reads the decision.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a claim names the case that it is about, and all others fail it"
)]

#[path = "machine_cells/asked.rs"]
mod asked;
#[path = "machine_cells/departs.rs"]
mod departs;
#[path = "machine_cells/drift.rs"]
mod drift;
#[path = "machine_cells/edges.rs"]
mod edges;
#[path = "machine_cells/gates.rs"]
mod gates;
#[path = "machine_cells/order.rs"]
mod order;
#[path = "machine_cells/outside.rs"]
mod outside;
#[path = "machine_cells/pace.rs"]
mod pace;
#[path = "machine_cells/paper.rs"]
mod paper;
#[path = "machine_cells/phases.rs"]
mod phases;
#[path = "machine_cells/requests.rs"]
mod requests;
#[path = "machine_cells/revisions.rs"]
mod revisions;
#[path = "machine_cells/starts.rs"]
mod starts;
#[path = "machine_cells/time.rs"]
mod time;
#[path = "machine_cells/verdicts.rs"]
mod verdicts;
#[path = "machine_cells/writes.rs"]
mod writes;
