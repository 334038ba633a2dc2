//! The console as a terminal sees it: a small terminal interprets what it is sent.

use ecusson_console::{Complete, DEFAULT_ESCAPE, Event, Nothing, Session};
use proptest::prelude::*;

/// Verbs at the beginning, domains after it.
struct Words;

impl Complete for Words {
    fn candidates(&self, before: &[&str], word: &str) -> Vec<String> {
        let words: &[&str] = if before.is_empty() {
            &["list", "log", "vcpu-list", "vcpu-pin"]
        } else {
            &["web01", "web02"]
        };
        words
            .iter()
            .filter(|one| one.starts_with(word))
            .map(ToString::to_string)
            .collect()
    }
}

/// The last line of a terminal, and where its cursor is.
#[derive(Default)]
struct Terminal {
    lines: Vec<Vec<char>>,
    line: Vec<char>,
    column: usize,
}

impl Terminal {
    fn shows(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let mut rest = text.chars();
        while let Some(next) = rest.next() {
            match next {
                '\r' => self.column = 0,
                '\n' => {
                    self.lines.push(std::mem::take(&mut self.line));
                }
                '\u{7}' => {}
                '\u{1b}' => self.sequence(&mut rest),
                _ => {
                    if self.column < self.line.len() {
                        self.line[self.column] = next;
                    } else {
                        self.line.push(next);
                    }
                    self.column += 1;
                }
            }
        }
    }

    fn sequence(&mut self, rest: &mut std::str::Chars<'_>) {
        assert_eq!(rest.next(), Some('['));
        let mut number = String::new();
        loop {
            match rest.next().unwrap() {
                'K' => return self.line.truncate(self.column),
                'D' => return self.column -= number.parse::<usize>().unwrap(),
                'J' | 'H' => return *self = Self::default(),
                digit => number.push(digit),
            }
        }
    }

    fn now(&self) -> String {
        self.line.iter().collect()
    }
}

struct Desk {
    session: Session,
    terminal: Terminal,
    events: Vec<Event>,
}

impl Desk {
    fn new() -> Self {
        let mut out = Vec::new();
        let session = Session::new("# ", 40, "Welcome\n", &mut out);
        let mut terminal = Terminal::default();
        terminal.shows(&out);
        Self {
            session,
            terminal,
            events: Vec::new(),
        }
    }

    fn types(&mut self, keys: &str) -> &mut Self {
        let mut out = Vec::new();
        for byte in keys.bytes() {
            self.events.extend(self.session.input(byte, &Words, &mut out));
        }
        self.terminal.shows(&out);
        self
    }

    fn does(&mut self, act: impl FnOnce(&mut Session, &mut Vec<u8>)) -> &mut Self {
        let mut out = Vec::new();
        act(&mut self.session, &mut out);
        self.terminal.shows(&out);
        self
    }

    fn finishes(&mut self) -> &mut Self {
        let mut out = Vec::new();
        self.events.extend(self.session.finished(&Words, &mut out));
        self.terminal.shows(&out);
        self
    }

    /// The line as it is shown, with `|` for the cursor.
    fn line(&self) -> String {
        let mut line = self.terminal.line.clone();
        line.insert(self.terminal.column, '|');
        line.into_iter().collect()
    }

    fn entered(&mut self, keys: &str) -> String {
        self.types(keys);
        match self.events.pop() {
            Some(Event::Run(line)) => {
                self.finishes();
                line
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_line_is_edited_where_the_cursor_is() {
    for (keys, line) in [
        ("list", "# list|"),
        ("lit\x1b[Ds", "# lis|t"),
        ("abc\x01x", "# x|abc"),
        ("abc\x1b[H\x1b[3~\x05d", "# bcd|"),
        ("abc\x7f\x7f", "# a|"),
        ("one two three\x17", "# one two |"),
        ("one two \x17x", "# one x|"),
        ("one two\x1b[1;5D\x0b", "# one |"),
        ("one two\x1b[1;5D\x15", "# |two"),
        ("ab\x14", "# ba|"),
        ("é€\x02\x7f", "# |€"),
        ("\x7f\x1b[D\x1b[C\x1b[3~\x17\x0b\x15", "# |"),
        ("ab\x02\x06c", "# abc|"),
    ] {
        assert_eq!(Desk::new().types(keys).line(), line, "{keys:?}");
    }
}

#[test]
fn a_line_that_is_too_long_is_shown_in_part() {
    let mut desk = Desk::new();
    desk.types(&"0123456789".repeat(5));
    assert_eq!(desk.line().chars().count(), 40);
    assert!(desk.line().ends_with("789|"));
    desk.types("\x01");
    assert!(desk.line().starts_with("# |0123"));
    assert_eq!(desk.entered("\r"), "0123456789".repeat(5));
    desk.types(&"x".repeat(2000));
    assert_eq!(desk.entered("\r").len(), 1024);
}

#[test]
fn lines_come_back_by_arrows_and_by_search() {
    let mut desk = Desk::new();
    for line in ["list", "create web01", "create web01", "  ", "destroy web02"] {
        desk.types(&format!("{line}\r")).finishes();
    }
    assert_eq!(desk.types("dra\x1b[A").line(), "# destroy web02|");
    assert_eq!(desk.types("\x1b[A").line(), "# create web01|");
    assert_eq!(desk.types("\x1b[A\x1b[A\x1b[A").line(), "# list|");
    assert_eq!(desk.types("\x1b[B\x1b[B\x1b[B").line(), "# dra|");
    assert_eq!(
        desk.types("\x15\x12we").line(),
        "(reverse-i-search)`we': destroy web02|"
    );
    assert_eq!(desk.types("\x12").line(), "(reverse-i-search)`we': create web01|");
    assert_eq!(desk.types("\x05").line(), "# create web01|");
    assert_eq!(desk.types("\x12nothing\x07").line(), "# create web01|");
    assert_eq!(desk.entered("\x15\x12lis\r"), "list");
}

#[test]
fn tabs_complete_verbs_and_names() {
    let mut desk = Desk::new();
    assert_eq!(desk.types("li\t").line(), "# list |");
    assert_eq!(desk.types("w\t").line(), "# list web0|");
    assert_eq!(desk.types("\t").line(), "# list web0|");
    let shown: String = desk.terminal.lines.last().unwrap().iter().collect();
    assert_eq!(shown, "web01  web02  ");
    assert_eq!(desk.types("1\t\x15v\t").line(), "# vcpu-|");
    assert_eq!(desk.types("\x15zzz\t").line(), "# zzz|");
}

#[test]
fn a_command_is_run_and_typing_ahead_is_kept() {
    let mut desk = Desk::new();
    desk.types("list\r");
    assert_eq!(desk.events.pop(), Some(Event::Run("list".to_string())));
    desk.does(|session, out| session.output("a\nb\n", out))
        .types("log\rmore");
    assert!(desk.events.is_empty());
    desk.finishes();
    assert_eq!(desk.events.pop(), Some(Event::Run("log".to_string())));
    assert_eq!(desk.finishes().line(), "# more|");
    assert_eq!(desk.types("\x03").line(), "# |");
    desk.types("top\r");
    desk.events.clear();
    desk.types("x\x03");
    assert_eq!(desk.events.pop(), Some(Event::Interrupt));
    assert_eq!(desk.finishes().line(), "# |");
    desk.types("\x04");
    assert_eq!(desk.events.pop(), Some(Event::End));
}

#[test]
fn messages_do_not_disturb_the_line() {
    let mut desk = Desk::new();
    desk.types("lis\x1b[D")
        .does(|session, out| session.notify("domain 1 (a): crash, restart\n", out));
    assert_eq!(desk.line(), "# li|s");
    let shown: String = desk.terminal.lines.last().unwrap().iter().collect();
    assert_eq!(shown, "domain 1 (a): crash, restart");
}

#[test]
fn a_guest_has_the_terminal_until_the_escape() {
    let mut desk = Desk::new();
    desk.does(|session, out| session.guest_output(1, b"booting\r\nlogin: ", out));
    assert_eq!(desk.line(), "# |");
    desk.types("console 1\r")
        .does(|session, out| session.attach(1, DEFAULT_ESCAPE, out));
    assert_eq!(desk.terminal.now(), "login: ");
    desk.events.clear();
    desk.types("r\x03\x1b[A");
    let bytes: Vec<u8> = desk
        .events
        .drain(..)
        .map(|event| match event {
            Event::ToGuest { domain: 1, byte } => byte,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(bytes, b"r\x03\x1b[A");
    desk.does(|session, out| {
        session.guest_output(1, b"root", out);
        session.guest_output(2, b"not shown", out);
        session.notify("not shown\n", out);
    });
    assert_eq!(desk.terminal.now(), "login: root");
    assert_eq!(desk.types("\x1d").line(), "# |");
    assert_eq!(desk.events.pop(), Some(Event::Detached { domain: 1 }));
    assert_eq!(desk.session.scrollback(2, 10), b"not shown");
}

#[test]
fn a_guest_that_goes_gives_the_terminal_back() {
    let mut desk = Desk::new();
    desk.types("console 1\r")
        .does(|session, out| session.attach(1, b'x', out));
    desk.does(|session, out| session.guest_gone(1, out));
    assert_eq!((desk.session.attached(), desk.line().as_str()), (None, "# |"));
    assert_eq!(desk.types("li").line(), "# li|");
}

#[test]
fn a_lone_escape_ends_a_search_after_a_pause() {
    let mut desk = Desk::new();
    desk.types("list\r").finishes();
    desk.types("\x12li\x1b");
    assert!(desk.session.wants_pause());
    desk.does(|session, out| session.pause(&Nothing, out));
    assert_eq!(desk.line(), "# list|");
}

proptest! {
    /// Whatever is typed, the terminal shows what is entered.
    #[test]
    fn what_is_shown_is_what_is_entered(keys in "([a-c ]|\x1b\\[[ABCD]|\x1b\\[3~|\x7f|\x01|\x05|\x0b|\x15|\x17|\x14|\x02|\x06|\x10|\x0e){0,40}") {
        let mut desk = Desk::new();
        for line in ["list", "a b c", "log"] {
            desk.types(&format!("{line}\r")).finishes();
        }
        desk.events.clear();
        desk.types(&keys);
        let shown = desk.terminal.now();
        prop_assume!(shown.chars().count() < 38);
        let entered = desk.types("\r").events.pop();
        match entered {
            Some(Event::Run(line)) => prop_assert_eq!(shown, format!("# {line}")),
            None => prop_assert!(shown.trim() == "#"),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut out = Vec::new();
        let mut session = Session::new("# ", 20, "", &mut out);
        for byte in bytes {
            match session.input(byte, &Words, &mut out) {
                Some(Event::Run(line)) if line.len() % 3 == 0 => session.attach(1, DEFAULT_ESCAPE, &mut out),
                Some(Event::Run(_)) => {
                    session.finished(&Words, &mut out);
                }
                _ => {}
            }
            session.guest_output(1, &[byte], &mut out);
            session.pause(&Words, &mut out);
        }
    }
}
