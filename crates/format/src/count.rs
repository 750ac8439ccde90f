//! Counts, as messages say them to people.

/// How many of something, which is called `one` where there is one, and has an `s` behind it otherwise.
pub fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// The same of something that is said in another way where there are several.
pub fn counted_as(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_several_and_none_is() {
        let told = [0, 1, 2].map(|count| counted(count, "event"));
        assert_eq!(told, ["0 events", "1 event", "2 events"]);
        let told = [0, 1, 2].map(|count| counted_as(count, "is", "are"));
        assert_eq!(told, ["0 are", "1 is", "2 are"]);
    }
}
