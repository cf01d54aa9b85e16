"""The stop list: English words that say nothing about what a text is about.

Apostrophes are gone, as they are from the words that are looked up here.
"""

from __future__ import annotations

_WORDS = """
a an the
i me my mine myself we us our ours ourselves you your yours yourself yourselves
he him his himself she her hers herself it its itself they them their theirs themselves
one ones oneself who whom whose which what this that these those such same other others another each every
either neither both all any some none no few fewer many more most much several own enough less least
someone somebody something anyone anybody anything everyone everybody everything nobody nothing
and or but nor so yet for if because although though unless until while whereas whether than as
of in on at by to from with without within into onto upon about above below over under between among amongst
through throughout during before after since against toward towards across along around behind beside besides
beyond near off out up down per via like except despite
am is are was were be been being do does did doing done have has had having
can could may might must shall should will would ought cannot
not never only also just even still already always often sometimes usually again once ever too very quite
rather almost perhaps maybe however therefore thus hence otherwise instead indeed
here there where when why how then now away back
yes etc
im youre hes shes were theyre ive youve weve theyve youll theyll youd hed theyd
isnt arent wasnt werent dont doesnt didnt havent hasnt hadnt cant couldnt shouldnt wont wouldnt mustnt
thats whats whos theres heres lets
"""

STOP_WORDS: frozenset[str] = frozenset(_WORDS.split())
