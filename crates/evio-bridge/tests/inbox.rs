//! No wake is lost, none is made for nothing, and no payload is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use evio_bridge::inbox::{self, Closed, Inbox, Sender};

/// Longer than any scheduling delay: only a lost wake takes it.
const LOST: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Tells each wake to a loop that waits for it, so that a missing one shows as a timeout.
struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// Receives as a loop does: empties the inbox, parks, waits for the wake.
fn receive<T>(inbox: &mut Inbox<T>, waker: &Waker, wakes: &mpsc::Receiver<()>) -> T {
    loop {
        if let Some(payload) = inbox.try_next() {
            return payload;
        }
        if inbox.park(waker) {
            wakes.recv_timeout(LOST).expect("a wake was lost");
        }
    }
}

fn bell() -> (Waker, mpsc::Receiver<()>) {
    let (sender, receiver) = mpsc::channel();
    (Waker::from(Arc::new(Bell(sender))), receiver)
}

#[test]
fn a_sender_crosses_threads() {
    fn crosses<T: Clone + Send + Sync>() {}
    crosses::<Sender<std::cell::Cell<u8>>>();
}

#[test]
fn only_a_parked_inbox_is_woken_and_once() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let (sender, mut inbox) = inbox::channel();

    sender.send(1).unwrap();
    assert_eq!(wakes.count(), 0, "never parked");
    assert!(!inbox.park(&waker), "there is mail");
    sender.send(2).unwrap();
    assert_eq!(wakes.count(), 0, "park said no");
    assert_eq!(inbox.try_next(), Some(1));
    assert_eq!(inbox.try_next(), Some(2));
    assert_eq!(inbox.try_next(), None);

    assert!(inbox.park(&waker));
    for payload in 3..6 {
        sender.send(payload).unwrap();
    }
    assert_eq!(wakes.count(), 1, "three sends, one wake");
    assert!(!inbox.park(&waker));
    assert_eq!(inbox.close(), [3, 4, 5]);
}

#[test]
fn an_unparked_inbox_is_not_woken() {
    let wakes = Arc::new(Wakes::default());
    let (sender, mut inbox) = inbox::channel();
    assert!(inbox.park(&Waker::from(Arc::clone(&wakes))));
    inbox.unpark();
    sender.send("late").unwrap();
    assert_eq!(wakes.count(), 0);
    inbox.unpark();
    assert_eq!(inbox.try_next(), Some("late"), "unparking keeps the mail");
}

#[test]
fn parking_again_replaces_the_waker() {
    let (old, new) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let (sender, mut inbox) = inbox::channel();
    assert!(inbox.park(&Waker::from(Arc::clone(&old))));
    assert!(inbox.park(&Waker::from(Arc::clone(&new))));
    sender.send(()).unwrap();
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn the_last_sender_to_go_wakes_a_parked_inbox() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let (sender, mut inbox) = inbox::channel::<()>();
    let other = sender.clone();
    assert!(inbox.park(&waker));
    drop(sender);
    assert_eq!(wakes.count(), 0, "one is left");
    drop(other);
    assert_eq!(wakes.count(), 1);
    assert!(inbox.park(&waker), "and there is no mail");
    assert!(inbox.park(&waker), "nor will there be");
    assert_eq!(inbox.try_next(), None);
}

#[test]
fn a_closed_inbox_hands_everything_back() {
    let (sender, mut inbox) = inbox::channel();
    sender.send(String::from("in time")).unwrap();
    assert!(
        !inbox.park(Waker::noop()),
        "so that one payload waits outside the queue"
    );
    sender.send(String::from("just in time")).unwrap();
    assert_eq!(inbox.close(), ["in time", "just in time"]);
    assert!(sender.is_closed());
    let Closed(payload) = sender.send(String::from("too late")).unwrap_err();
    assert_eq!(payload, "too late");
    assert!(inbox.close().is_empty());
}

#[test]
fn a_dropped_inbox_refuses_too() {
    let (sender, inbox) = inbox::channel();
    drop(inbox);
    assert_eq!(sender.send(7), Err(Closed(7)));
}

/// A payload each time the loop has just parked: the tightest race of park and send.
#[test]
fn no_wake_is_lost_between_threads() {
    const ROUNDS: u32 = 20_000;
    let (ping, mut pings) = inbox::channel();
    let (pong, mut pongs) = inbox::channel();
    let echo = thread::spawn(move || {
        let (waker, wakes) = bell();
        for _ in 0..ROUNDS {
            let number = receive(&mut pings, &waker, &wakes);
            pong.send(number).unwrap();
        }
    });
    let (waker, wakes) = bell();
    for round in 0..ROUNDS {
        ping.send(round).unwrap();
        assert_eq!(receive(&mut pongs, &waker, &wakes), round);
    }
    echo.join().unwrap();
}

#[test]
fn many_threads_send_and_each_is_heard_in_order() {
    const THREADS: usize = 4;
    const EACH: usize = 20_000;
    let (sender, mut inbox) = inbox::channel();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let sender = sender.clone();
            thread::spawn(move || {
                for number in 0..EACH {
                    sender.send((thread, number)).unwrap();
                }
            })
        })
        .collect();
    let (waker, wakes) = bell();
    let mut next = [0; THREADS];
    for _ in 0..THREADS * EACH {
        let (thread, number) = receive(&mut inbox, &waker, &wakes);
        assert_eq!(number, next[thread]);
        next[thread] += 1;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(inbox.try_next(), None);
}

/// Closing in the middle of sends: each payload is either in the mail or refused, and none is both or neither.
#[test]
fn closing_among_senders_loses_nothing() {
    const THREADS: usize = 3;
    const EACH: usize = 2_000;
    for pause in 0..20 {
        let (sender, mut inbox) = inbox::channel();
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let sender = sender.clone();
                thread::spawn(move || {
                    (0..EACH)
                        .filter_map(|number| sender.send(thread * EACH + number).err())
                        .map(|Closed(payload)| payload)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        thread::sleep(Duration::from_micros(pause * 10));
        let mut all = inbox.close();
        for thread in threads {
            all.extend(thread.join().unwrap());
        }
        all.sort_unstable();
        assert_eq!(all, (0..THREADS * EACH).collect::<Vec<_>>());
    }
}
