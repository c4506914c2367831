//! Speaking: short lines to the kernel's log, and to the consoles where a person should read.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
};

use rustix::fs::OFlags;

/// What is printed on the consoles: of the kernel's log, what is more urgent than the first number.
/// <https://docs.kernel.org/admin-guide/sysctl/kernel.html#printk>
const LEVEL: &str = "/proc/sys/kernel/printk";
const INFORMATION: u8 = 6;

/// Makes the console the standard input, output and error of this program and its children.
pub(crate) fn attach() {
    let flags = OFlags::NOCTTY.bits().cast_signed();
    let console =
        OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/console");
    if let Ok(console) = console {
        // Without a console there is nobody to tell.
        let _ = rustix::stdio::dup2_stdin(&console);
        let _ = rustix::stdio::dup2_stdout(&console);
        let _ = rustix::stdio::dup2_stderr(&console);
    }
}

/// Keeps off the consoles what the kernel and systemd merely inform of; it is in the log. A person sees what
/// matters, and no boot waits for hundreds of lines over a serial line or on a slow screen.
pub(crate) fn hush() {
    let level = fs::read_to_string(LEVEL).unwrap_or_default();
    let level = level.split_whitespace().next().and_then(|level| level.parse::<u8>().ok());
    if level.is_some_and(|level| level > INFORMATION) {
        // As loud as it was is no reason not to boot.
        let _ = fs::write(LEVEL, INFORMATION.to_string());
    }
}

/// A line of progress in the kernel's log and on the consoles, from which a boot test follows the stage.
pub(crate) fn log(text: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // One write is one line there.
        let _ = log.write_all(format!("<5>coremax-init: {text}\n").as_bytes());
    }
}

/// Text for the person before the machine, on all its consoles.
pub(crate) fn tell(text: &str) {
    let text = format!("\ncoremax-init: {}\n", text.trim_end()).replace('\n', "\r\n");
    for mut console in consoles() {
        let _ = console.write_all(text.as_bytes());
    }
}

fn consoles() -> Vec<File> {
    let open = |name: &str| {
        let flags = OFlags::NOCTTY.bits().cast_signed();
        OpenOptions::new().write(true).custom_flags(flags).open(format!("/dev/{name}")).ok()
    };
    let found = fs::read_to_string("/proc/consoles").unwrap_or_default();
    let opened: Vec<_> = names(&found).filter_map(open).collect();
    if opened.is_empty() { open("console").into_iter().collect() } else { opened }
}

/// The first word of each line: `tty0  -WU (EC p  )  4:7`.
fn names(consoles: &str) -> impl Iterator<Item = &str> {
    consoles.lines().filter_map(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consoles_by_name() {
        let text = "tty0                 -WU (EC  p  )    4:7\nttyS0                -W- (E   p a)    4:64\n";
        assert_eq!(names(text).collect::<Vec<_>>(), ["tty0", "ttyS0"]);
    }
}
