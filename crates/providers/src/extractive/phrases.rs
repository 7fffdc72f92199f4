//! Turns of phrase that tell what a sentence is fit for.

/// A sentence that begins so speaks about the one before it.
#[rustfmt::skip]
pub(super) const DANGLING: &[&str] = &[
    "a second", "a third", "above", "accordingly", "additionally", "after that", "afterwards", "again",
    "all of these", "all of this", "all these", "also", "alternatively", "although it", "although its",
    "although the latter", "although these", "although they", "although this", "among these",
    "an alternative", "and", "another", "any such", "are ", "as a consequence", "as a result", "as above",
    "as an example", "as before", "as described above", "as discussed", "as mentioned", "as noted",
    "as part of this", "as shown", "as stated", "as such", "as well", "as with", "as you can see", "at that",
    "at this", "because of these", "because of this", "below", "besides", "both", "but", "by contrast",
    "by doing", "by that", "by this", "consequently", "consider", "conversely", "despite this", "did ", "do ",
    "does ", "doing so", "doing this", "due to this", "during this", "each of these", "each such", "either",
    "else", "equally", "even so", "even then", "eventually", "finally", "first", "firstly", "following this",
    "for example", "for instance", "for that", "for these", "for this", "for those", "fortunately", "fourth",
    "from this", "further", "furthermore", "given these", "given this", "has ", "he", "hence", "her", "here",
    "his", "how ", "however", "i", "if it", "if not", "if so", "if that", "if these", "if they", "if this",
    "in addition", "in all these", "in any case", "in both", "in brief", "in contrast", "in effect",
    "in either", "in fact", "in general", "in other cases", "in other words", "in our", "in particular",
    "in practice", "in short", "in such", "in summary", "in that", "in the above", "in the example",
    "in the first", "in the following", "in the former", "in the latter", "in the previous", "in the same",
    "in the second", "in these", "in this", "in those", "in turn", "incidentally", "indeed", "instead", "is ",
    "it", "its", "last", "lastly", "later", "let us", "let's", "likewise", "mainly", "meanwhile",
    "more precisely", "more specifically", "moreover", "most of these", "my", "namely", "neither",
    "nevertheless", "next", "nonetheless", "nor", "note", "now", "obviously", "of course", "of these",
    "on the contrary", "on the other", "on this", "once that", "once these", "once this", "one of these",
    "one such", "or", "others", "otherwise", "our", "over this", "part of this", "perhaps", "please",
    "previously", "rather", "recall", "regardless", "same", "second", "secondly", "see", "she", "similar to",
    "similarly", "since it", "since that", "since these", "since this", "so", "some of these", "some such",
    "soon", "specifically", "still", "subsequently", "such", "that", "the above", "the aforementioned",
    "the example", "the examples", "the figure", "the first", "the following", "the former", "the last",
    "the latter", "the most common of these", "the next", "the other", "the others", "the preceding",
    "the previous", "the reason", "the rest", "the result is", "the same applies", "the same can", "the same goes", "the same holds", "the same is", "the same thing", "the same way", "the second", "the table",
    "the third", "their", "them", "then", "there it", "thereafter", "therefore", "these", "they", "third",
    "thirdly", "this", "those", "though", "thus", "to achieve this", "to address this", "to avoid this",
    "to do so", "to do that", "to do this", "to fix this", "to help", "to illustrate", "to make this",
    "to see", "to solve this", "to summarize", "to that", "to this", "together", "too", "two of these",
    "under these", "under this", "unfortunately", "unlike", "until then", "was ", "we", "were ", "what ",
    "what's more", "what’s more", "when it", "when that", "when these", "when they", "when this",
    "where this", "which", "while it", "while that", "while these", "while this", "who ", "whose", "why ",
    "with it", "with that", "with these", "with this", "without it", "without that", "without these",
    "without this", "worse", "yet", "you can see", "your",
];

/// Sentences that hold these are about the document, its authors or its layout.
#[rustfmt::skip]
pub(super) const ABOUT_THE_DOCUMENT: &[&str] = &[
    "acknowledg", "all rights reserved", "appendix", "as follows", "as is\"", "author would like",
    "authors would like", "below)", "below.", "chapter", "click", "comments are solicited", "copyright",
    "described above", "described below", "discussed above", "discussed below", "distribution of this memo",
    "earlier version", "example above", "example below", "following example", "following section",
    "following table", "for details", "for more", "in section", "in this document", "in this example",
    "in this section", "internet-draft", "key words", "licence", "license", "listed below", "mailing list",
    "mentioned above", "next section", "permission to", "previous example", "previous section",
    "published by", "rfc editor", "rights reserved", "see also", "see below", "see section", "see the",
    "shown above", "shown below", "shown in", "table of contents", "the above", "the author", "the following",
    "the reader", "this appendix", "this document", "this example", "this memo", "this page", "this rfc",
    "this section", "this specification", "to be interpreted as", "trademark", "tutorial", "working group",
    "www.",
];

/// A sentence that begins so is about a case, not about its subject.
#[rustfmt::skip]
pub(super) const CONDITIONS: &[&str] = &[
    "After ", "As ", "Because ", "Before ", "For ", "If ", "In ", "No ", "Once ", "Since ", "There ", "To ",
    "Unless ", "Until ", "When ", "While ", "With ",
];

#[rustfmt::skip]
pub(super) const DEFINING: &[&str] = &[
    "allows", "consists", "defines", "denotes", "describes", "enables", "ensures", "guarantees", "means",
    "provides", "represents", "specifies",
];

/// Words that only a whole clause has; "the editor used for commit messages." is none.
#[rustfmt::skip]
pub(super) const CLAUSE: &[&str] = &[
    "are", "be", "can", "cannot", "could", "did", "do", "does", "had", "has", "have", "is", "may", "might",
    "must", "shall", "should", "was", "were", "will", "would",
];
