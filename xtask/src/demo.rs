//! The main job: both kinds of server and both kinds of client, in one thread.

use crate::error::Error;
use crate::hub::Hub;
use crate::process;
use crate::python::Python;
use crate::venv::{Recipe, Venv};
use crate::wheel;
use crate::workspace::Workspace;

/// Runs the demo against the release wheel; `false` when a request failed or a part stalled.
///
/// # Errors
///
/// Whatever keeps the wheel or the environment from being made.
pub(crate) fn run(
    workspace: &Workspace,
    python: &Python,
    hub: Hub,
    requests: u32,
    json: bool,
) -> Result<bool, Error> {
    let wheel = wheel::for_use(workspace, python)?;
    let recipe = Recipe {
        python,
        requirements: &[workspace.path("examples/demo/requirements.txt")],
        wheel: Some(&wheel),
    };
    let venv = Venv::ensure(workspace, "demo", recipe)?;
    let mut demo = venv.command("python");
    demo.arg(workspace.path("examples/demo"));
    demo.args([
        "--hub",
        &hub.to_string(),
        "--requests",
        &requests.to_string(),
    ]);
    if json {
        demo.arg("--json");
    }
    match process::run(&mut demo) {
        Ok(()) => Ok(true),
        // It has said so itself.
        Err(Error::Failed { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
