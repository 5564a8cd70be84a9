//! The local HTTP API: what an engine shows, and what people ask of it.
//!
//! [`Server`] serves a [`Desk`](haldane_runtime::ports::Desk) over a unix socket, or over TCP with a
//! token; [`Client`] speaks to it. The API decides nothing: a request becomes an input of the loop,
//! and its outcome is the machine's. Every read and write has a deadline, every body a limit.

mod access;
mod client;
mod form;
mod ops;
mod place;
mod routes;
mod server;
mod wire;

pub use self::{
    client::{Ask, Client, ClientError},
    ops::{Ops, serve_ops},
    place::{Error, Listener},
    server::{Server, serve},
    wire::{
        Answer, Entry, JournalPage, PackedBatch, Picture, RolloutList, TracePage, Trouble, Version,
    },
};
