//! The command line: one file per command, each with its options, their texts
//! and their exit codes.

mod check;
mod demo;
pub mod demo_camera;
mod doctor;
mod healthcheck;
mod import;
mod logging;
mod openapi;
mod panics;
mod password;
mod schema;
mod serve;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::memory;

/// Done.
pub const DONE: u8 = 0;
/// Wrong arguments (`clap` exits with it by itself).
pub const USAGE: u8 = 2;
/// A fault of ours, or of the machine: a port that is taken.
pub const SOFTWARE: u8 = 70;
/// Configuration fault.
pub const CONFIG: u8 = 78;

/// RTSP cameras in any browser, without re-encoding.
#[derive(Parser)]
#[command(name = "porthole", version, about, max_term_width = 100)]
struct Arguments {
    /// How log lines look. Default: text on a terminal, JSON elsewhere.
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    log_format: Option<logging::Format>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Doctor(doctor::Doctor),
    Check(check::Check),
    Import(import::Import),
    Healthcheck(healthcheck::Healthcheck),
    Token(token::Token),
    Password(password::Password),
    Schema(schema::Schema),
    #[command(name = "openapi")]
    OpenApi(openapi::OpenApi),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    memory::share_heaps();
    logging::start(arguments.log_format);
    let code = match arguments.command {
        Command::Serve(serve) => serve.run(),
        Command::Demo(demo) => demo.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Check(check) => check.run(),
        Command::Import(import) => import.run(),
        Command::Healthcheck(healthcheck) => healthcheck.run(),
        Command::Token(token) => token.run(),
        Command::Password(password) => password.run(),
        Command::Schema(schema) => schema.run(),
        Command::OpenApi(openapi) => openapi.run(),
    };
    ExitCode::from(code)
}
