//! The chores of the workspace, one subcommand each: `cargo xtask --help`.

#![forbid(unsafe_code)]

mod archive;
mod bench;
mod consumer;
mod demo;
mod dev;
mod error;
mod hub;
mod peers;
mod process;
mod python;
mod report;
mod test;
mod tidy;
mod venv;
mod wheel;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::error::Error;
use crate::hub::Hub;
use crate::python::Version;
use crate::workspace::Workspace;

/// The chores of the evio workspace.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check formatting, lints and tidiness, then run all Rust and Python tests
    Test(TestArgs),
    /// Build release wheels into dist/
    Wheel(WheelArgs),
    /// Check the rules of the workspace that no compiler checks
    Tidy,
    /// Run eventlet and asyncio servers and clients in one thread, and report
    Demo(DemoArgs),
    /// Measure against peers, and say which aims are met
    Bench(BenchArgs),
    /// Install an editable build into .venv and open a Python prompt there
    Dev(DevArgs),
    /// Run test suites of others on what is made here
    #[command(subcommand)]
    Peers(Peer),
}

#[derive(Debug, Subcommand)]
enum Peer {
    /// Run eventlet's own tests on a hub: what no list of exceptions explains is an error
    Eventlet(EventletArgs),
    /// Run the tests of asyncio that a CPython brings along on an event loop: what fails on ours alone is an error
    Cpython(CpythonArgs),
    /// Run asgiref's own tests: what fails, and passes on asyncio's loop, is an error
    Asgiref(LibraryArgs),
    /// Run anyio's own tests: what fails, and passes on asyncio's loop, is an error
    Anyio(LibraryArgs),
}

#[derive(Debug, Args)]
struct EventletArgs {
    /// Run on this CPython, such as 3.12 [default: the newest found]
    #[arg(long, value_name = "VERSION")]
    python: Option<Version>,
    /// The eventlet hub to run on
    #[arg(long, value_enum, default_value_t = Hub::Ours)]
    hub: Hub,
    /// Run only the files that `cargo xtask test` runs
    #[arg(long)]
    fast: bool,
    /// Take the tests from this file instead of fetching it
    #[arg(long, value_name = "FILE")]
    sdist: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CpythonArgs {
    /// Take the tests of this CPython, such as 3.12 [default: the newest found]
    #[arg(long, value_name = "VERSION")]
    python: Option<Version>,
    /// The event loop to run on
    #[arg(long = "loop", value_enum, default_value_t = peers::Loop::Ours)]
    event_loop: peers::Loop,
    /// Run only the modules that `cargo xtask test` runs
    #[arg(long)]
    fast: bool,
    /// Run only tests whose names match, such as test_events or test_ssl.*start_tls
    #[arg(long = "match", value_name = "REGEX")]
    matching: Option<String>,
}

#[derive(Debug, Args)]
struct LibraryArgs {
    /// Run on this CPython, such as 3.12 [default: the newest found]
    #[arg(long, value_name = "VERSION")]
    python: Option<Version>,
    /// What the tests run on
    #[arg(long, value_enum, default_value_t = peers::Host::Loop)]
    host: peers::Host,
    /// Run only tests whose names match this expression of pytest's
    #[arg(long = "match", value_name = "EXPR")]
    matching: Option<String>,
    /// Take the tests from this file instead of fetching it
    #[arg(long, value_name = "FILE")]
    sdist: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Test on this CPython only, such as 3.12; may be given more than once
    #[arg(long, value_name = "VERSION")]
    python: Vec<Version>,
    /// Run pytest only, and of it only the tests that match this expression
    #[arg(short = 'k', value_name = "EXPR")]
    keyword: Option<String>,
    /// Check one crate only, without any Python
    #[arg(long, value_enum, conflicts_with_all = ["python", "keyword"])]
    layer: Option<test::Layer>,
}

#[derive(Debug, Args)]
struct WheelArgs {
    /// Build for this CPython, such as 3.12 [default: the newest found]
    #[arg(long, value_name = "VERSION", conflicts_with = "all")]
    python: Option<Version>,
    /// Build for every CPython found
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// The eventlet hub to run on
    #[arg(long, value_enum, default_value_t = Hub::Ours)]
    hub: Hub,
    /// Run on this CPython, such as 3.12 [default: the newest found]
    #[arg(long, value_name = "VERSION")]
    python: Option<Version>,
    /// How many requests go each way
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    requests: u32,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// A suite, such as hub, or a row, such as hub.echo; all if none is named
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
    /// A tenth of the work, for a rough look
    #[arg(long)]
    quick: bool,
    /// Measure on this CPython, such as 3.12 [default: the newest found]
    #[arg(long, value_name = "VERSION")]
    python: Option<Version>,
    /// Write all samples to this file [default: target/bench-VERSION.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Count the instructions of a few hot rows instead, and fail where they rose by more than 5 %
    #[arg(long, conflicts_with_all = ["rows", "quick", "json"])]
    check: bool,
    /// Write benches/RESULTS.md and the charts; with --check, the counts to compare with
    #[arg(long, conflicts_with = "rows")]
    write: bool,
}

#[derive(Debug, Args)]
struct DevArgs {
    /// Use this CPython, such as 3.12 [default: the newest found]
    #[arg(long, value_name = "VERSION")]
    python: Option<Version>,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one subcommand; `false` when it ran and found something wrong.
fn run(command: Command) -> Result<bool, Error> {
    let workspace = Workspace::load()?;
    match command {
        Command::Test(TestArgs {
            layer: Some(layer), ..
        }) => test::layer(&workspace, layer),
        Command::Test(args) => test::everything(&workspace, &args.python, args.keyword.as_deref()),
        Command::Wheel(args) => {
            let pythons = if args.all {
                python::all()?
            } else {
                vec![python::newest_or(args.python)?]
            };
            wheel::release(&workspace, &pythons)
        }
        Command::Tidy => tidy::run(&workspace),
        Command::Demo(args) => {
            let python = python::newest_or(args.python)?;
            demo::run(&workspace, &python, args.hub, args.requests, args.json)
        }
        Command::Bench(args) if args.check => {
            bench::check(&workspace, &python::newest_or(args.python)?, args.write)
        }
        Command::Bench(args) => {
            let wish = bench::Wish {
                rows: &args.rows,
                quick: args.quick,
                json: args.json.as_deref(),
                write: args.write,
            };
            bench::run(&workspace, &python::newest_or(args.python)?, wish)
        }
        Command::Dev(args) => dev::run(&workspace, &python::newest_or(args.python)?),
        Command::Peers(Peer::Eventlet(args)) => {
            let python = python::newest_or(args.python)?;
            let wheel = wheel::for_tests(&workspace, &python)?;
            let suite = peers::Suite {
                workspace: &workspace,
                python: &python,
                wheel: &wheel,
                hub: args.hub,
                part: part(args.fast),
                sdist: args.sdist.as_deref(),
            };
            suite.run().map(|()| true)
        }
        Command::Peers(Peer::Cpython(args)) => {
            let python = python::newest_or(args.python)?;
            let wheel = wheel::for_tests(&workspace, &python)?;
            let suite = peers::OfAsyncio {
                workspace: &workspace,
                python: &python,
                event_loop: args.event_loop,
                part: part(args.fast),
                matching: args.matching.as_deref(),
            };
            suite.run(&wheel).map(|()| true)
        }
        Command::Peers(Peer::Asgiref(args)) => {
            of_library(&workspace, peers::Library::Asgiref, &args).map(|()| true)
        }
        Command::Peers(Peer::Anyio(args)) => {
            of_library(&workspace, peers::Library::Anyio, &args).map(|()| true)
        }
    }
}

fn of_library(
    workspace: &Workspace,
    library: peers::Library,
    args: &LibraryArgs,
) -> Result<(), Error> {
    let python = python::newest_or(args.python)?;
    let wheel = wheel::for_tests(workspace, &python)?;
    let suite = peers::OfLibrary {
        workspace,
        python: &python,
        wheel: &wheel,
        library,
        host: args.host,
        matching: args.matching.as_deref(),
        sdist: args.sdist.as_deref(),
    };
    suite.run()
}

fn part(fast: bool) -> peers::Part {
    if fast {
        peers::Part::Fast
    } else {
        peers::Part::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        let words = std::iter::once("xtask").chain(line.split_whitespace());
        Cli::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn every_documented_command_is_understood() {
        for line in [
            "test",
            "test --python 3.12 --python 3.10 -k bridge",
            "test --layer timers",
            "wheel",
            "wheel --python 3.11",
            "wheel --all",
            "tidy",
            "demo --json --hub epolls --python 3.12 --requests 10",
            "dev",
            "bench",
            "bench hub loop.streams-1kb --quick --python 3.12 --json a.json",
            "bench --quick --write",
            "bench --check --write --python 3.10",
            "peers eventlet --python 3.12 --hub asyncio --fast --sdist a.tar.gz",
            "peers eventlet",
            "peers cpython --python 3.12 --loop uvloop --match test_ssl.*start_tls",
            "peers cpython --fast",
            "peers asgiref",
            "peers anyio --python 3.13 --host green --match sockets --sdist a.tar.gz",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn bad_arguments_say_what_would_be_good() {
        for (line, part) in [
            (
                "demo --hub gevent",
                "possible values: epolls, asyncio, ours",
            ),
            ("demo --requests 0", "1..=1000000"),
            ("test --python 3.9", "3.10"),
            ("test --python three", "such as 3.12"),
            ("test --layer py", "timers, reactor, bridge, loop"),
            ("test --layer loop -k x", "cannot be used with"),
            ("wheel --all --python 3.12", "cannot be used with"),
            ("bench hub --check", "cannot be used with"),
            ("bench hub --write", "cannot be used with"),
            ("peers gevent", "unrecognized subcommand"),
            (
                "peers cpython --loop gevent",
                "possible values: ours, stdlib, uvloop, rloop",
            ),
            (
                "peers anyio --host trio",
                "possible values: stdlib, loop, hub, green",
            ),
            ("frobnicate", "unrecognized subcommand"),
        ] {
            let message = parse(line).expect_err(line);
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}
