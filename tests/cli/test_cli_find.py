"""What `tare show` and `tare cat` suggest when a name is absent."""

import cli_support

NAMES = [f"model.layers.{layer}.{part}.weight" for layer in range(12)
         for part in ("self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj")]
NAMES += ["lm_head.weight", "model.embed_tokens.weight", "ab"]


class Suggestions(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        self.path = self.write("m.safetensors", [(name, "U8", [1], None) for name in NAMES])

    def check(self, asked, *near, shown=None):
        for command in ("show", "cat"):
            result = self.bad(1, command, self.path, asked)
            lines = [f"tare: {self.path}: no tensor is named '{shown or asked}'"]
            if near:
                names = [f"'{name}'" for name in near]
                text = ", ".join(names[:-1]) + " or " + names[-1] if near[1:] else names[0]
                lines.append(f"tare: did you mean {text}?")
            self.assertEqual(result.err.splitlines(), lines)

    def test_a_letter_too_few_too_many_wrong_or_swapped(self):
        for asked in ("lm_hed.weight", "lm_heaad.weight", "lm_hexd.weight", "lm_haed.weight",
                      "lm_head.weigth"):
            self.check(asked, "lm_head.weight")

    def test_letter_case_is_forgiven(self):
        self.check("LM_Head.Weight", "lm_head.weight")

    def test_missing_components_are_completed(self):
        self.check("layers.7.mlp.up_proj.weight", "model.layers.7.mlp.up_proj.weight")
        self.check("embed_tokens.weight", "model.embed_tokens.weight")
        self.check("model.layers.7.mlp.up_proj", "model.layers.7.mlp.up_proj.weight")
        self.check("layers.7.mlp.up_proj", "model.layers.7.mlp.up_proj.weight")

    def test_a_missing_first_component_and_a_typo(self):
        self.check("layers.7.mlp.up_porj.weight", "model.layers.7.mlp.up_proj.weight")

    def test_a_component_too_many_is_taken_away(self):
        self.check("model.lm_head.weight", "lm_head.weight")

    def test_the_three_first_of_many_as_near_are_given(self):
        self.check("model.layers.99.mlp.up_proj.weight", "model.layers.9.mlp.up_proj.weight")
        self.check("model.layers.x.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight",
                   "model.layers.1.mlp.up_proj.weight", "model.layers.2.mlp.up_proj.weight")

    def test_the_nearest_hides_those_that_are_farther(self):
        self.check("model.layers.3.self_attn.q_prj.weight",
                   "model.layers.3.self_attn.q_proj.weight")

    def test_far_names_have_no_suggestion(self):
        for asked in ("nothing.like.it", "x", "y" * 5000):
            shown = asked if len(asked) < 100 else asked[:1020] + "..."
            self.check(asked, shown=shown)
        self.check("")

    def test_both_names_are_printed_safely(self):
        path = self.write("odd.safetensors", [("we\x1bight\u202e", "U8", [1], None)])
        result = self.bad(1, "show", path, "we\x1bigth\u202e")
        self.assertEqual(result.err, f"tare: {path}: no tensor is named 'we\\x1bigth\\u202e'\n"
                                     "tare: did you mean 'we\\x1bight\\u202e'?\n")

    def test_json_does_not_change_it(self):
        self.bad(1, "show", "--json", self.path, "lm_hed.weight")

    def test_an_empty_model_has_nothing_to_suggest(self):
        path = self.write("empty.safetensors", [])
        self.assertEqual(self.bad(1, "show", path, "a").err,
                         f"tare: {path}: no tensor is named 'a'\n")


class Distances(cli_support.CliTest):
    """The nearest name against a plain computation of the same distance over whole matrices."""

    @staticmethod
    def distance(a, b):
        rows = [[i + j if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
        for i in range(1, len(a) + 1):
            for j in range(1, len(b) + 1):
                rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1,
                                 rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
                if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                    rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
        return rows[-1][-1]

    def test_random_edits_find_the_nearest_names(self):
        state = 12345

        def random(below):
            nonlocal state
            state = (state * 1103515245 + 12345) % 2**31
            return (state >> 8) % below

        names = ["".join("abcd"[random(4)] for _ in range(18 + random(4))) for _ in range(60)]
        names = list(dict.fromkeys(names))
        path = self.write("m.safetensors", [(name, "U8", [1], None) for name in names])
        for _ in range(60):
            asked = list(names[random(len(names))])
            for _ in range(1 + random(6)):
                place = random(len(asked))
                edit = random(4)
                if edit == 0:
                    asked.insert(place, "abcd"[random(4)])
                elif edit == 1:
                    del asked[place]
                elif edit == 2:
                    asked[place] = "abcd"[random(4)]
                else:
                    asked[place:place + 2] = asked[place:place + 2][::-1]
            asked = "".join(asked)
            if asked in names:
                continue
            distances = [self.distance(asked, name) for name in names]
            bound = min(5, 1 + len(asked) // 5)
            nearest = [name for name, distance in zip(names, distances)
                       if distance == min(distances)][:3] if min(distances) <= bound else []
            lines = self.bad(1, "show", path, asked).err.splitlines()[1:]
            shown = [word for line in lines for word in line.split("'")[1::2]]
            self.assertEqual(shown, nearest, asked)


if __name__ == "__main__":
    cli_support.main()
