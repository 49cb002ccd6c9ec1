//! The tests of asyncio that pass on its own event loop and not on ours, each with its reason.

/// Tests that fail, and why.
struct Difference {
    /// Their module and class.
    group: &'static str,
    tests: &'static [&'static str],
    reason: &'static str,
}

/// The list.
const DIFFERENCES: [Difference; 3] = [
    Difference {
        group: "test_events.EPollEventLoopTests",
        tests: &["test_internal_fds"],
        reason: "it looks for the self-pipe of asyncio's loop, where ours has an eventfd",
    },
    Difference {
        group: "test_events.TestPyGetEventLoop",
        tests: &[
            "test_get_event_loop_returns_running_loop",
            "test_get_event_loop_returns_running_loop2",
        ],
        reason: "it has loops tell functions in Python that they run, where ours tells those in C",
    },
    Difference {
        group: "test_unix_events.SelectorEventLoopSignalTests",
        tests: &[
            "test_add_signal_handler_install_error",
            "test_add_signal_handler_install_error2",
            "test_add_signal_handler_install_error3",
            "test_add_signal_handler_setup_error",
            "test_close",
            "test_close_on_finalizing",
            "test_handle_signal_cancelled_handler",
            "test_remove_signal_handler",
            "test_remove_signal_handler_2",
            "test_remove_signal_handler_error",
            "test_remove_signal_handler_error2",
        ],
        reason: "it puts mocks in the place of what asyncio's loop calls, where ours calls something else",
    },
];

impl Difference {
    fn explains(&self, test: &str) -> bool {
        test.rsplit_once('.')
            .is_some_and(|(group, test)| group == self.group && self.tests.contains(&test))
    }
}

/// Why a test fails, where that is known.
pub(super) fn reason(test: &str) -> Option<&'static str> {
    let mut those = DIFFERENCES.iter();
    those.find(|one| one.explains(test)).map(|one| one.reason)
}

/// The module of a test, by its name.
pub(super) fn module(test: &str) -> &str {
    // What a class is prepared by has a name like `setUpClass (test_events.Tests)`.
    let name = test.split_once('(').map_or(test, |(_, name)| name);
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_tests_have_a_reason() {
        assert!(reason("test_events.EPollEventLoopTests.test_internal_fds").is_some());
        assert!(reason("test_events.EPollEventLoopTests.test_internal").is_none());
        assert!(reason("test_events.Tests.test_internal_fds").is_none());
    }

    #[test]
    fn a_test_is_found_in_its_module() {
        for name in [
            "test_events.Tests.test_x",
            "test_events",
            "setUpClass (test_events.Tests)",
        ] {
            assert_eq!(module(name), "test_events");
        }
    }
}
