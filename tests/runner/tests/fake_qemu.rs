//! The runner against shell scripts that stand in for QEMU: its streams, ends and exit statuses.

use hv_runner::{End, LogLine, Machine, Outcome, RunError};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A directory with an image, which nobody looks into, and a QEMU.
struct Fake {
    directory: TempDir,
}

/// Writes to COM2: finds the socket in QEMU's own arguments.
const LOG: &str = r#"
log() { python3 -c '
import re, socket, sys
words = sys.argv[2:]
path = next(m.group(1) for w in words if (m := re.match("socket,id=log,path=(.*)", w)))
s = socket.socket(socket.AF_UNIX); s.connect(path)
s.sendall(sys.argv[1].encode().decode("unicode_escape").encode("latin-1"))' "$@"; }
"#;

impl Fake {
    fn new(script: &str) -> Self {
        let fake = Fake {
            directory: tempfile::tempdir().unwrap(),
        };
        std::fs::write(fake.image(), "not an ELF file").unwrap();
        std::fs::write(fake.qemu(), format!("#!/bin/sh\n{LOG}{script}\n")).unwrap();
        std::fs::set_permissions(fake.qemu(), PermissionsExt::from_mode(0o755)).unwrap();
        fake
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image.elf")
    }

    fn qemu(&self) -> PathBuf {
        self.directory.path().join("qemu")
    }

    fn machine(&self) -> Machine {
        Machine::new(self.image()).qemu(self.qemu())
    }

    fn run(&self) -> Outcome {
        self.machine().run().unwrap()
    }

    /// The program `hv-run`.
    fn command(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hv-run"))
            .arg("--qemu")
            .arg(self.qemu())
            .args(arguments)
            .arg(self.image())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }
}

fn last_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn the_hosts_status_and_reason_come_through() {
    for (code, status) in [(33, 0), (39, 3), (41, 4), (43, 5), (35, 1)] {
        let outcome = Fake::new(&format!(
            "log 'libhv: stop: because\\n' \"$@\"; exit {code}"
        ))
        .run();
        assert_eq!(
            (outcome.status, outcome.stop()),
            (status, "because"),
            "{}",
            outcome.report()
        );
    }
}

#[test]
fn a_qemu_that_dies_gets_status_1_and_a_stop_line() {
    for (script, reason) in [
        ("exit 0", "the machine ended without a word (QEMU status 0)"),
        ("exit 7", "the machine ended without a word (QEMU status 7)"),
        (
            "exit 39",
            "the machine ended without a word (host status 3)",
        ),
        ("log 'libhv: stop: x\\n' \"$@\"; exit 1", "x"),
    ] {
        let outcome = Fake::new(script).run();
        assert_eq!((outcome.status, outcome.stop()), (1, reason));
    }
}

#[test]
fn qemus_own_complaints_are_kept() {
    let outcome = Fake::new("echo 'no such device' >&2; exit 1").run();
    assert_eq!(outcome.qemu, "no such device\n");
}

#[test]
fn an_undecodable_log_is_told_once_and_before_the_stop_line() {
    let outcome =
        Fake::new("log '\\x01\\x02\\x00\\x03\\x00libhv: stop: end\\n\\x05' \"$@\"; exit 33").run();
    let lines: Vec<String> = outcome.log.iter().map(LogLine::to_string).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("log not decoded: "), "{lines:?}");
    assert_eq!((outcome.status, lines[1].as_str()), (0, "libhv: stop: end"));
}

#[test]
fn a_dialogue_waits_for_what_the_console_says() {
    let fake = Fake::new(
        "printf 'name? '; read name; printf \"hello %s\\n\" \"$name\"; read again; exit 33",
    );
    let mut running = fake.machine().spawn().unwrap();
    assert_eq!(running.expect("? ").unwrap(), "name? ");
    running.send("guest\n").unwrap();
    assert_eq!(running.expect("guest\n").unwrap(), "hello guest\n");
    running.send("\n").unwrap();
    assert_eq!(running.wait().console, b"name? hello guest\n");
}

#[test]
fn waiting_for_what_never_comes_ends_with_the_machine() {
    let fake = Fake::new("echo something else; exit 33");
    let mut running = fake.machine().spawn().unwrap();
    match running.expect("prompt") {
        Err(RunError::Unexpected { wanted, got }) => {
            assert_eq!(
                (wanted.as_str(), got.as_str()),
                ("prompt", "something else\n")
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_machine_that_hangs_is_ended_by_its_deadline() {
    let fake = Fake::new("exec sleep 1000");
    let outcome = fake
        .machine()
        .deadline(Some(Duration::from_millis(50)))
        .run()
        .unwrap();
    assert_eq!((outcome.status, outcome.end), (1, End::Deadline));
    assert_eq!(outcome.stop(), "the machine ran past its deadline");
}

#[test]
fn a_dropped_machine_is_dead() {
    let fake = Fake::new("echo $$; exec sleep 1000");
    let mut running = fake.machine().spawn().unwrap();
    let process: u32 = running.expect("\n").unwrap().trim().parse().unwrap();
    drop(running);
    assert!(!PathBuf::from(format!("/proc/{process}")).exists());
}

#[test]
fn the_program_passes_the_status_on_and_stops_with_the_stop_line() {
    let fake = Fake::new("echo console; log 'libhv: stop: guest killed: x\\n' \"$@\"; exit 39");
    let output = fake.command(&[], "");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout, b"console\n");
    assert_eq!(last_line(&output.stderr), "libhv: stop: guest killed: x");
}

#[test]
fn the_end_of_the_input_does_not_end_the_machine() {
    let fake = Fake::new(
        "cat >/dev/null & sleep 0.2; echo alive; log 'libhv: stop: x\\n' \"$@\"; exit 33",
    );
    let output = fake.command(&[], "");
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), &b"alive\n"[..])
    );
}

#[test]
fn a_megabyte_goes_both_ways_byte_for_byte() {
    let text: String = (0..200_000).map(|line| format!("{line:06}\n")).collect();
    let length = text.len();
    // The machine takes it in pieces that are smaller than a pipe, and says it all again.
    let fake = Fake::new(&format!(
        "log 'libhv: up\\nlibhv: stop: x\\n' \"$@\"
         dd bs=100 count={length} iflag=count_bytes,fullblock status=none > \"$0.said\"
         cat \"$0.said\"; exit 33"
    ));
    let output = fake.command(&[], &text);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == text.as_bytes());
}

#[test]
fn a_restart_boots_again_with_the_input_that_is_left() {
    // `read` of a shell takes a byte at a time from a pipe, as a UART does.
    let fake = Fake::new(
        "read word; echo \"got $word\"; log 'libhv: stop: end\\n' \"$@\"; [ $word = one ] && exit 41; exit 33",
    );
    let output = fake.command(&[], "one\ntwo\n");
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), &b"got one\ngot two\n"[..])
    );
    let output = fake.command(&["--restart", "no"], "one\ntwo\n");
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(4), &b"got one\n"[..])
    );
}

#[test]
fn unreadable_files_are_named_before_qemu_starts() {
    let fake = Fake::new("echo started");
    for (arguments, file) in [
        (&["--kernel", "/no/kernel"][..], "/no/kernel"),
        (
            &["--kernel", "/dev/null", "--initrd", "/no/initrd"][..],
            "/no/initrd",
        ),
        (
            &["--kernel", "/dev/null", "--ram-disk", "/no/disk"][..],
            "/no/disk",
        ),
        (&["--disk", "/no/disk"][..], "/no/disk"),
        (&["--kernel", "/"][..], "/"),
    ] {
        let output = fake.command(arguments, "");
        assert_eq!(output.status.code(), Some(5));
        assert!(output.stdout.is_empty());
        let line = last_line(&output.stderr);
        assert!(
            line.starts_with(&format!("libhv: stop: cannot read {file}: ")),
            "{line}"
        );
    }
}

#[test]
fn wrong_arguments_end_with_a_stop_line_too() {
    let fake = Fake::new("echo started");
    for (arguments, reason) in [
        (
            ["--net", "foo"],
            "error: invalid value 'foo' for '--net <NET>' [possible values: user]",
        ),
        (
            ["--rng", "foo"],
            "error: invalid value 'foo' for '--rng <RNG>' [possible values: yes, no]",
        ),
        (
            ["--memory", "x"],
            "error: invalid value 'x' for '--memory <MEMORY>': invalid digit found in string",
        ),
        (
            ["--initrd", "/dev/null"],
            "error: the following required arguments were not provided: --kernel <KERNEL>",
        ),
    ] {
        let output = fake.command(&arguments, "");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(5), 0));
        let line = last_line(&output.stderr);
        assert!(
            line.starts_with(&format!("libhv: stop: {reason}")),
            "{line}"
        );
    }
}

#[test]
fn what_an_image_carries_is_a_length_and_an_archive() {
    let fake = Fake::new("echo started");
    let kernel = fake.directory.path().join("a kernel's file");
    std::fs::write(&kernel, "kernel of an appliance").unwrap();
    let section = fake.directory.path().join("section");
    let output = fake.command(
        &[
            "--kernel",
            kernel.to_str().unwrap(),
            "--cmdline",
            "of  the 'guest'",
            "--memory",
            "48",
            "--append",
            "generation=g4",
            "--write-section",
            section.to_str().unwrap(),
        ],
        "",
    );
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    let section = std::fs::read(section).unwrap();
    let (length, archive) = section.split_first_chunk().unwrap();
    assert_eq!(u64::from_le_bytes(*length), archive.len() as u64);
    let archive = String::from_utf8(archive.to_vec()).unwrap();
    for part in [
        "kernel of an appliance",
        "of  the 'guest'",
        "memory=48 generation=g4",
    ] {
        assert!(archive.contains(part), "{part} is not in {archive}");
    }
    let output = fake.command(
        &["--kernel", "/no/kernel", "--write-section", "/dev/null"],
        "",
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(last_line(&output.stderr).starts_with("hv-run: cannot read /no/kernel: "));
}

#[test]
fn a_missing_qemu_is_named() {
    let fake = Fake::new("");
    std::fs::remove_file(fake.qemu()).unwrap();
    let output = fake.command(&[], "");
    assert_eq!(output.status.code(), Some(5));
    assert!(last_line(&output.stderr).starts_with("libhv: stop: cannot start "));
}

#[test]
fn words_of_the_command_line_reach_qemu() {
    let fake =
        Fake::new("for word; do echo \"$word\"; done; log 'libhv: stop: x\\n' \"$@\"; exit 33");
    let arguments = [
        "--mode",
        "isolated",
        "--log",
        "debug",
        "--memory",
        "512",
        "--cmdline",
        "a  'b' $c",
        "--deterministic",
    ];
    let output = fake.command(&arguments, "");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in [
        "log=debug mode=isolated memory=512 -- a  'b' $c\n",
        "shift=0,sleep=off\n",
        "640\n",
    ] {
        assert!(words.contains(word), "{word} is not in {words}");
    }
}

#[test]
fn a_machine_has_room_for_its_module() {
    let fake = Fake::new("echo \"$@\"; log 'libhv: stop: x\\n' \"$@\"; exit 33");
    let initrd = fake.directory.path().join("initrd");
    std::fs::write(&initrd, vec![0; 100 << 20]).unwrap();
    let arguments = [
        "--kernel",
        "/dev/null",
        "--initrd",
        initrd.to_str().unwrap(),
        "--memory",
        "512",
    ];
    let output = fake.command(&arguments, "");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    // 128 MiB for the host; the archive is a little more than 100 MiB.
    assert!(words.contains(" -m 842 "), "{words}");
}

#[test]
fn a_signal_ends_the_machine_with_the_runner() {
    let fake = Fake::new("echo $$; exec sleep 1000");
    let mut child = Command::new(env!("CARGO_BIN_EXE_hv-run"))
        .arg("--qemu")
        .arg(fake.qemu())
        .arg(fake.image())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut process = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.as_mut().unwrap()),
        &mut process,
    )
    .unwrap();
    // The shell's own `kill`: the program of that name is not everywhere.
    Command::new("sh")
        .args(["-c", &format!("kill {}", child.id())])
        .status()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(last_line(&output.stderr), "libhv: stop: interrupted");
    assert!(!PathBuf::from(format!("/proc/{}", process.trim())).exists());
}
