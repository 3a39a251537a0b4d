"""Write text with a trained language model: python -m scripts.sample RUN"""

import pathlib

import numpy as np

from scripts.training import command_line, run_folder, untrusted


def sample(model, characters, *, length, temperature, start="\n", seed=0):
    """The `length` characters that follow `start`.

    Args:
        model: from `writer`; `characters`: id i stands for the one at i - 1.
        temperature: 1 draws from the model's probabilities, a lower one favors likely
            characters, 0 takes the likeliest.
    """
    import tensorflow as tf

    # The largest logit plus Gumbel noise is a draw from the softmax of the logits.
    random = np.random.default_rng(seed)
    ids = {character: i for i, character in enumerate(characters, 1)}
    step = tf.function(model, input_signature=[tf.TensorSpec((1, None), tf.int32)])
    given = [ids.get(character, 0) for character in start]
    text = []
    for _ in range(length):
        logits = np.log(np.maximum(step(tf.constant([given], tf.int32))[0, -1].numpy(), 1e-30))
        logits[0] = -np.inf  # no character stands for it
        if temperature > 0:
            logits = logits / temperature + random.gumbel(size=len(logits))
        given = [int(logits.argmax())]
        text.append(characters[given[0] - 1])
    return "".join(text)


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.sample", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a folder that scripts.train wrote")
    parser.add_argument(
        "--length", type=command_line.count, default=500, help="characters to write"
    )
    parser.add_argument("--start", default="\n", help="the text to continue")
    parser.add_argument(
        "--temperature",
        type=command_line.factor,
        default=0.8,
        help="0 takes the likeliest each time",
    )
    parser.add_argument("--seed", type=command_line.seed, default=0, help="of what is drawn")
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
        run_folder.read_run(options.run)
        file = pathlib.Path(options.run) / "vocabulary.json"
        characters = untrusted.read_json(file) if file.exists() else None
        if not isinstance(characters, list) or not all(isinstance(c, str) for c in characters):
            raise command_line.InputError(f"{options.run} is not the run of a language model")
        if not options.start:
            raise command_line.InputError("--start: expected at least one character")
        untrusted.check_model(pathlib.Path(options.run) / "model.keras")
        from models.language_model import writer

        model = run_folder.load_model(options.run)
        if model.output_shape != (None, None, len(characters) + 1):
            raise command_line.InputError(f"{file} does not hold the characters of the model")
        model = writer(model)
        print(
            options.start
            + sample(
                model,
                characters,
                length=options.length,
                temperature=options.temperature,
                start=options.start,
                seed=options.seed,
            )
        )


if __name__ == "__main__":
    main()
