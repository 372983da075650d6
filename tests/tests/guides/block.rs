//! The fenced blocks of a guide: what its reader saves, types and sees.
//!
//! The words after the fence say which is which; a page shows none of them:
//!
//! | fence | is |
//! |---|---|
//! | `sh` | typed into the terminal; must succeed |
//! | `sh background` | typed into a terminal of its own, where it stays |
//! | `sh no-run` | shown only |
//! | `text` | all that the command before it prints |
//! | `text background` | what the last background command has printed somewhere by then or soon |
//! | `console` | commands after `$ `, each with what it prints |
//! | `python publish.py` | saved under this name |

/// What a reader does or sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Block {
    /// Saves a file.
    File { name: String, text: String },
    /// Types it.
    Command { text: String, background: bool },
    /// Sees it.
    Output { text: String, background: bool },
}

/// The blocks of a page, each with the line it begins at.
pub(crate) fn blocks(page: &str) -> Result<Vec<(usize, Block)>, String> {
    let mut found = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((n, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let mut text = String::new();
        loop {
            match lines.next() {
                Some((_, "```")) => break,
                Some((_, line)) => text.push_str(&format!("{line}\n")),
                None => return Err(format!("line {}: the block does not end", n + 1)),
            }
        }
        let (language, mark) = info.split_once(' ').unwrap_or((info, ""));
        let background = mark == "background";
        let block = match (language, mark) {
            ("sh", "no-run") => continue,
            ("sh", "" | "background") => Block::Command { text, background },
            ("text", "" | "background") => Block::Output { text, background },
            ("sh" | "text", _) => return Err(format!("line {}: unknown mark {mark:?}", n + 1)),
            ("console", "") => {
                found.extend(console(&text).into_iter().map(|block| (n + 1, block)));
                continue;
            }
            (_, "") => continue,
            (_, name) => Block::File { name: name.to_owned(), text },
        };
        found.push((n + 1, block));
    }
    Ok(found)
}

fn console(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    for part in format!("\n{text}").split("\n$ ").skip(1) {
        let (command, output) = part.split_once('\n').unwrap_or((part, ""));
        found.push(Block::Command { text: format!("{command}\n"), background: false });
        if !output.trim().is_empty() {
            found.push(Block::Output { text: format!("{}\n", output.trim_end()), background: false });
        }
    }
    found
}

#[test]
fn the_words_after_a_fence_say_what_a_block_is() {
    let page = "\
# A guide\n\
```python publish.py\nprint()\n```\n\
```sh\na\nb\n```\n\
```text\nout\n```\n\
```sh background\ncurl\n```\n\
```text background\nid: 1\n```\n\
```sh no-run\nrm\n```\n\
```html\n<p>\n```\n\
```console\n$ one\n1\n\n$ two\n```\n";
    let text = |text: &str| text.to_owned();
    let command = |line, of: &str, background| (line, Block::Command { text: text(of), background });
    let output = |line, of: &str, background| (line, Block::Output { text: text(of), background });
    assert_eq!(
        blocks(page),
        Ok(vec![
            (2, Block::File { name: text("publish.py"), text: text("print()\n") }),
            command(5, "a\nb\n", false),
            output(9, "out\n", false),
            command(12, "curl\n", true),
            output(15, "id: 1\n", true),
            command(24, "one\n", false),
            output(24, "1\n", false),
            command(24, "two\n", false),
        ])
    );
    assert_eq!(blocks("```sh norun\nx\n```\n"), Err("line 1: unknown mark \"norun\"".to_owned()));
    assert_eq!(blocks("\n```sh\nx\n"), Err("line 2: the block does not end".to_owned()));
}
