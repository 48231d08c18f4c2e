//! The client against a scripted daemon.

mod descriptors;
mod fake;
mod hostile;
mod reconnect;
mod requests;
mod state;
mod upcalls;
