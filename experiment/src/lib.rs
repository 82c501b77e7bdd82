//! The measuring tool: how batch size and request rate affect latency, throughput, power and energy of a model on a
//! Triton server.
//!
//! It sees the server over HTTP only. Each room imports from the rooms above it in this table:
//!
//! | | |
//! |---|---|
//! | [`clock`], [`plain`], [`arrivals`], [`times`], [`told`], [`samples`] | the clock, text for terminals, due times of requests, distributions, sums of energy, single requests |
//! | [`uncertainty`] | errors of figures |
//! | [`answers`], [`elements`] | whether an answer is the expected one; elements of tensors |
//! | [`record`], [`settle`] | outcomes of requests in windows, and whether the windows have settled |
//! | [`plan`] | what to measure, with every default filled in; the key of a point; the choices of the command line |
//! | [`results`] | what a run leaves behind |
//! | [`estimate`] | metrics with confidence intervals |
//! | [`store`] | the folder that results are kept in |
//! | [`diff`] | two results held against each other |
//! | [`condition`] | conditions under which a run counts as failed |
//! | [`ab`] | two contenders measured in turn: order, test, document |
//! | [`settings`] | what the user asked for, by flags and in a TOML plan file |
//! | [`load`] | sends requests at their times and gathers the outcomes |
//! | [`data`] | inputs, and the outputs that are expected of them, from files |
//! | [`agreement`], [`adherence`] | whether the server's statistics agree, and whether a latency target was met |
//! | [`server`] | everything but the load: metadata, statistics, configurations, a server that the tool starts |
//! | [`power`] | energy, CPU time and temperatures, on the same clock as the windows |
//! | [`target`] | the server and the model to measure, and the meter |
//! | [`search`] | which rate to try next for a latency target, and what was found |
//! | [`requests`] | the requests of a point, made from the model's metadata |
//! | [`point`] | measures one point, then puts its results and warnings into words |
//! | [`exchange`] | results for other programs, and from them |
//! | [`report`], [`progress`] | tables, plots and sentences about results |
//! | [`run`], [`run_ab`] | a whole run: server, idle power, all points, report; a comparison in turn |
//! | [`cli`] | the command line |

#![deny(unsafe_code)]

pub mod ab;
pub mod adherence;
pub mod agreement;
pub mod answers;
pub mod arrivals;
pub mod cli;
pub mod clock;
pub mod condition;
pub mod data;
pub mod diff;
pub mod elements;
pub mod estimate;
pub mod exchange;
pub mod host;
pub mod load;
pub mod plain;
pub mod plan;
pub mod point;
pub mod power;
pub mod progress;
pub mod record;
pub mod report;
pub mod requests;
pub mod results;
pub mod run;
pub mod run_ab;
pub mod samples;
pub mod search;
pub mod server;
pub mod settings;
pub mod settle;
pub mod store;
pub mod target;
pub mod times;
pub mod told;
pub mod uncertainty;
