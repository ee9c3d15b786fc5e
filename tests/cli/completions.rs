//! The files of completions/ are what the program prints.

use super::command::orders;

#[test]
fn the_completion_files_are_what_the_program_prints() {
    let files = [
        ("bash", include_str!("../../completions/orders.bash")),
        ("zsh", include_str!("../../completions/_orders")),
        ("fish", include_str!("../../completions/orders.fish")),
    ];
    for (shell, file) in files {
        let ran = orders(&format!("completions {shell}")).run();
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        assert!(
            ran.stdout == file,
            "completions/ is out of date: write `orders completions {shell}` into its file"
        );
    }
}

#[test]
fn an_unknown_shell_is_a_mistake_of_usage() {
    let ran = orders("completions tcsh").run();
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
    assert!(
        ran.stderr
            .starts_with("error: invalid value 'tcsh' for '<SHELL>'")
    );
}
