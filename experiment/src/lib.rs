//! The measuring tool: how batch size, request rate, latency, power and energy of a Triton server hang together.
//!
//! It sees the server over HTTP only. The rooms, in the order of a run:
//!
//! | | |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`settings`] | what was asked for, by flags and in a TOML plan file |
//! | [`plan`] | what is to be measured, with every default filled in |
//! | [`batching`], [`traces`] | of `batching`: the latency target, and arrivals shaped out of the capacity |
//! | [`run`] | a whole run: server, idle power, all points in their order, report |
//! | [`target`] | the server and the model that are measured, and the meter that watches them |
//! | [`server`] | everything but the load: metadata, statistics, configurations, a server of its own |
//! | [`power`] | energy, CPU time, temperatures, by the clock of the windows |
//! | [`point`] | one point: load until it has [settled](settle), and what that took |
//! | [`requests`] | its requests, out of the model's metadata |
//! | [`load`] | sends them, paced, and gathers their outcomes ([`record`]) |
//! | [`samples`], [`adherence`] | single requests of a trace, and whether they kept the latency target |
//! | [`agreement`] | whether the server's statistics say the same |
//! | [`results`], [`store`] | what a run leaves, and where |
//! | [`report`] | tables and plots of it |

#![deny(unsafe_code)]

pub mod adherence;
pub mod agreement;
pub mod batching;
pub mod cli;
pub mod clock;
pub mod host;
pub mod load;
pub mod plan;
pub mod point;
pub mod power;
pub mod progress;
pub mod record;
pub mod report;
pub mod requests;
pub mod results;
pub mod run;
pub mod samples;
pub mod server;
pub mod settings;
pub mod settle;
pub mod store;
pub mod target;
pub mod traces;
