//! The files of completions/ equal the output of the program.

use support::process::orders;

#[test]
fn the_completion_files_equal_the_output_of_the_program() {
    let files = [
        ("bash", include_str!("../../completions/orders.bash")),
        ("zsh", include_str!("../../completions/_orders")),
        ("fish", include_str!("../../completions/orders.fish")),
    ];
    for (shell, file) in files {
        let ran = orders(&format!("completions {shell}")).run().succeeds();
        assert!(
            ran.stdout == file,
            "completions/ is out of date: write `orders completions {shell}` into its file"
        );
    }
}

#[test]
fn an_unknown_shell_is_a_usage_error() {
    let ran = orders("completions tcsh").run().exits(2);
    assert_eq!(ran.stdout, "");
    ran.reports("error: invalid value 'tcsh' for '<SHELL>'");
}
