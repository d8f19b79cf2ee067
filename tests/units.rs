//! What is installed beside the binary: systemd's units, the manual, the completions.
//!
//! Where systemd's tools are not installed the tests that need them say so and check nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// `None`, with the reason on the test's output, where systemd-analyze is not installed.
fn analyze(arguments: &[&str], files: &[PathBuf]) -> Option<Output> {
    let output = Command::new("systemd-analyze").args(arguments).args(files).output();
    if output.is_err() {
        eprintln!("SKIPPED: systemd-analyze is not installed");
    }
    output.ok()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_service_is_locked_in() {
    let Some(output) = analyze(&["security", "--offline=true", "--no-pager"], &[path("systemd/roomd.service")]) else {
        return;
    };
    let text = text(&output);
    let level = text.split("Overall exposure level for roomd.service: ").nth(1).and_then(|rest| rest.split(' ').next());
    let level: f64 = level.and_then(|level| level.parse().ok()).unwrap_or_else(|| panic!("no level: {text}"));
    assert!(level <= 1.0, "{text}");
}

#[test]
fn systemd_understands_the_units() {
    // The program is looked for where the package puts it: a copy of the units names the one that was just built.
    let folder = std::env::temp_dir().join(format!("roomd-units-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let files = ["roomd.service", "roomd.socket"].map(|name| {
        let unit = std::fs::read_to_string(path("systemd").join(name)).unwrap();
        // The manual is not installed here.
        let unit =
            unit.replace("/usr/bin/roomd", env!("CARGO_BIN_EXE_roomd")).replace("Documentation=man:roomd(8)", "");
        std::fs::write(folder.join(name), unit).unwrap();
        folder.join(name)
    });
    let output = analyze(&["verify"], &files);
    std::fs::remove_dir_all(&folder).unwrap();
    let Some(output) = output else { return };
    let ours: Vec<String> =
        text(&output).lines().filter(|line| line.contains("roomd")).map(ToOwned::to_owned).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn each_line_of_the_service_has_a_reason() {
    let unit = std::fs::read_to_string(path("systemd/roomd.service")).unwrap();
    let service = unit.split("[Service]").nth(1).and_then(|rest| rest.split("[Install]").next()).unwrap();
    // A block of settings stands below its comment, without an empty line between them.
    for block in service.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let first = block.lines().find(|line| !line.starts_with("# ---")).unwrap_or("#");
        assert!(first.starts_with('#') || first == "Type=notify", "no reason: {first}");
    }
}

#[test]
fn socket_and_nginx_and_configuration_name_the_same_path() {
    let read = |file: &str| std::fs::read_to_string(path(file)).unwrap();
    assert!(read("systemd/roomd.socket").contains("\nListenStream=/run/roomd/roomd.sock\n"));
    assert!(read("config/nginx.conf").contains("proxy_pass http://unix:/run/roomd/roomd.sock;"));
    assert!(read("config/roomd.toml").contains("\nlisten = \"unix:/run/roomd/roomd.sock\"\n"));
    assert!(read("systemd/tmpfiles.d/roomd.conf").contains("\nd /run/roomd 0755 roomd roomd -\n"));
}

#[test]
fn manual_and_completions_know_every_command() {
    let help = Command::new(env!("CARGO_BIN_EXE_roomd")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).expect("the help lists commands").split("\n\n").next();
    // A description that goes on in the next line is indented further.
    let lines = commands.iter().flat_map(|list| list.lines()).filter_map(|line| line.strip_prefix("  "));
    let commands: Vec<&str> =
        lines.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"serve"), "{help}");
    for file in ["roomd.8", "completions/roomd.bash", "completions/_roomd", "completions/roomd.fish"] {
        let text = std::fs::read_to_string(path("config/package").join(file)).unwrap();
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '-').collect();
        for command in &commands {
            assert!(words.contains(command), "{file} does not know `{command}`");
        }
    }
}

#[test]
fn the_readme_knows_every_key_and_the_changelog_the_version() {
    let read = |file: &str| std::fs::read_to_string(path(file)).unwrap();
    let readme = read("README.md");
    // Lines of examples begin with `#` and no blank.
    let shipped: String =
        read("config/roomd.toml").lines().map(|l| format!("{}\n", l.trim_start_matches('#'))).collect();
    let mut section = String::new();
    for line in shipped.lines().filter(|line| !line.starts_with(' ')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !section.starts_with('[')) {
            let key = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
            assert!(readme.contains(&format!("`{key}`")), "README.md does not tell what {key} is");
        }
    }
    let version = format!("roomd ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(read("config/package/changelog").starts_with(&version), "the changelog begins with {version}");
}

#[test]
fn the_bash_completion_offers_the_options_that_there_are() {
    let script = format!(
        "source {}; COMP_WORDS=(roomd \"$@\" --); COMP_CWORD=$(($# + 1)); _roomd; echo \"${{COMPREPLY[@]}}\"",
        path("config/package/completions/roomd.bash").display()
    );
    for command in [
        &["serve"][..],
        &["check"],
        &["backup"],
        &["restore"],
        &["export"],
        &["import"],
        &["room", "list"],
        &["room", "show"],
        &["room", "create"],
        &["room", "update"],
        &["room", "add"],
        &["user", "purge"],
        &["stats"],
    ] {
        let Ok(offered) = Command::new("bash").args(["-c", &script, "bash"]).args(command).output() else {
            return eprintln!("SKIPPED: bash is not installed");
        };
        let help = Command::new(env!("CARGO_BIN_EXE_roomd")).args(command).arg("--help").output().unwrap();
        let (offered, help) = (text(&offered), text(&help));
        let mut offered: Vec<&str> = offered.split_whitespace().collect();
        let mut known: Vec<&str> =
            help.lines().filter_map(|line| line.strip_prefix("  --")?.split([' ', ',']).next()).collect();
        // These two belong to `room` itself.
        known.extend(["config", "json"].into_iter().filter(|_| command[0] == "room"));
        offered.sort_unstable();
        known.sort_unstable();
        let known: Vec<String> = known.iter().map(|name| format!("--{name}")).collect();
        assert_eq!(offered, known, "{command:?}");
    }
}

#[test]
fn the_readme_lists_the_routes_that_there_are() {
    let readme = std::fs::read_to_string(path("README.md")).unwrap();
    let chapter = readme.split("## API coverage").nth(1).and_then(|rest| rest.split("Not served").next()).unwrap();
    let mut listed = Vec::new();
    for row in chapter.lines().filter(|line| line.contains('`') && line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        for word in cells[1].split('`').skip(1).step_by(2) {
            let whole = match word {
                "webinary" => "/room/{token}/webinary/lobby".to_owned(),
                word => word.replace('…', "/room/{token}").replace("/ocs/v2.php", ""),
            };
            let below = if whole.starts_with("/cloud") { "" } else { "/apps/spreed/api/v1" };
            listed.extend(cells[2].split_whitespace().map(|method| format!("{method} {below}{whole}")));
        }
    }
    let mut served: Vec<String> =
        roomd::routes::names().iter().map(|(method, path)| format!("{method} {path}")).collect();
    listed.sort();
    served.sort();
    assert_eq!(listed, served);
}
