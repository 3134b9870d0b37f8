"""The published weights of Won et al., "Evaluation of CNN-based automatic music tagging models", SMC 2020.

Their files hold tensors alone. Which tags the outputs stand for follows from the corpus, which the checksum tells.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from models.errors import CheckpointError

# fmt: off
MAGNATAGATUNE = (  # by frequency; metal comes before female voice
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient",
    "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals", "no vocals",
    "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man",
    "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello",
    "no voice", "weird", "country", "metal", "female voice", "choral",
)
MSD = (  # the Last.fm tags of the Million Song Dataset, spelled as there
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s", "alternative rock",
    "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul", "indie rock", "Mellow",
    "electronica", "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient",
    "acoustic", "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening",
    "sexy", "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House",
    "happy",
)
JAMENDO = (  # sorted, as the label binarizer of the training left them
    "genre---alternative", "genre---ambient", "genre---atmospheric", "genre---chillout", "genre---classical",
    "genre---dance", "genre---downtempo", "genre---easylistening", "genre---electronic", "genre---experimental",
    "genre---folk", "genre---funk", "genre---hiphop", "genre---house", "genre---indie", "genre---instrumentalpop",
    "genre---jazz", "genre---lounge", "genre---metal", "genre---newage", "genre---orchestral", "genre---pop",
    "genre---popfolk", "genre---poprock", "genre---reggae", "genre---rock", "genre---soundtrack", "genre---techno",
    "genre---trance", "genre---triphop", "genre---world", "instrument---acousticguitar", "instrument---bass",
    "instrument---computer", "instrument---drummachine", "instrument---drums", "instrument---electricguitar",
    "instrument---electricpiano", "instrument---guitar", "instrument---keyboard", "instrument---piano",
    "instrument---strings", "instrument---synthesizer", "instrument---violin", "instrument---voice",
    "mood/theme---emotional", "mood/theme---energetic", "mood/theme---film", "mood/theme---happy",
    "mood/theme---relaxing",
)
# fmt: on
LICENCE = "MIT"
# SHA-256 of a file -> tags of its outputs.
FILES: dict[str, tuple[str, ...]] = {
    "3bfc67e43f3e180194ab5993c947ffbf44b1a23dcdf42c374b1ced9d4d4de72e": MAGNATAGATUNE,  # fcn
    "0a7ac8aa3daab3a1c59cae16a771b0bfa4064ac94502ebc990a5c32a2771e189": MAGNATAGATUNE,  # musicnn
    "6012aa7eecf864a8081faedca56af054521e8dfb9c5c98659a3dd5d3e1e66f21": MSD,  # fcn
    "ebb99855ed0c83f38845db9cfb383dd6fc70938bc58701dcb66e18af9ee7fbea": MSD,  # crnn
    "7bce08a66dbc70d096b0a330f44b4cacd9aa25519b83489fbb98f2164a194e2b": JAMENDO,  # fcn
    "0a558989c0793f488cb677d188464c91f47c007f7c70473230e55537ca598215": JAMENDO,  # crnn
    "66280f4859376377c47f64313c7ac889a3201fdb06a01bf6e94ac6e619081bb5": JAMENDO,  # musicnn
}
# SHA-256 of a file whose tensors are named as those of a network here, but which is of another -> that network.
OTHERS = {
    "dd3b4043a87d4ec13df8082c0fcfee3fb5084151808e47e060987a95eabdd142": "Cnn14_DecisionLevelMax, a network that "
    "is not part of this project; load Cnn14_mAP=0.431.pth of the same publication",
}


def metadata_of(path: Path) -> dict[str, Any]:
    """Task, labels and licence of a published file; empty for anything else.

    Raises:
        CheckpointError: It is known to be of a network that is not here.
    """
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest in OTHERS:
        raise CheckpointError(f"{path} holds weights of {OTHERS[digest]}")
    labels = FILES.get(digest)
    return {"task": "tagging", "labels": list(labels), "licence": LICENCE} if labels else {}
