//! The words of questions that are not about what is measured: those that connect, those that say nothing, those that ask for what cannot be given.
//!
//! Each list is one text, its words divided by single spaces.

/// Words that ask for a comparison, wherever they stand.
pub(super) const COMPARING: &str = "compare compared comparing comparison versus vs than";
/// These compare too, but may well be part of a topic.
pub(super) const COMPARING_IN_HEAD: &str = "\
    difference change changed increase increased decrease decreased trend trends grew growth drop dropped better \
    worse graph chart plot histogram";
/// Words that leave something out.
pub(super) const EXCLUDING: &str = "except excluding without excludes";
/// What stands behind these is a topic.
pub(super) const STRONG: &str = "about regarding concerning for on covering around mentioning";
/// What stands behind these may be a topic, if there is none behind a stronger word.
pub(super) const WEAK: &str = "in of within with from";
/// Words that say nothing about the question.
pub(super) const FILLER: &str = "\
    hold holds contain contains refused average mean avg typical maximum minimum share proportion fraction show me \
    give tell display print list report calculate compute count counts get got find see let need want like know \
    please thanks thank hello hi hey ok what which whats how many much often when where who is are was were be been \
    being do does did done has have had can could would will should the a an this that these those there it its i we \
    you us our my your and or also of in on for to by at as with from within during over about so far number total \
    totals overall sum amount value values figure figures percent percentage percentile percentiles cache cached \
    caches caching shard server redis sutra database semantic current currently now right just all any every \
    happened occurred happen take takes taken took made make used using use usage seen up per cent times time \
    entries entry keys lookups reads questions queries requests answers hit hits out went going doing work working \
    available stored removed because due through";
/// Words around a topic that are not part of it.
pub(super) const AROUND_TOPIC: &str = "\
    show give tell what how many much take takes took the a an our my all any some questions question queries query \
    requests request prompts lookups topic topics subject about on regarding related to concerning of for in \
    anything everything things stuff that which are is please now right were was did do cache shard server entries \
    keys and total with we have it there been me so us you get got had made like answers reads";
