"""Names that would run, hide or turn something if a page took them for more than text."""

NAMES = (
    "</script><script>hacked=1</script>",
    "<img src=x onerror=hacked=1>",
    '"><svg onload=hacked=1>',
    "\u202e\u2066gpj.exe",
    "--><!--<script>hacked=1</script>",
    "'\"`${hacked=1}{{hacked=1}}{%raw%}",
    "' autofocus onfocus=hacked=1 x='",
    "&lt;img src=x onerror=hacked=1&gt;",
    "</title></style><iframe srcdoc='<script>parent.hacked=1</script>'>" + "a" * 300,
    "javascript:hacked=1",
)
"""As many as there are digits."""

SPY = """
globalThis.ran = [];
for (const name of ['alert', 'confirm', 'prompt']) globalThis[name] = () => { ran.push(name); };
addEventListener('securitypolicyviolation', (event) => {
  ran.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
"""


class Watched:
    """A browser whose pages say what ran in them and what their policy had to stop."""

    def __init__(self, browser):
        self.browser = browser
        made = browser.send("Page.addScriptToEvaluateOnNewDocument", source=SPY)
        self.script = made["identifier"]

    def close(self):
        self.browser.send("Page.removeScriptToEvaluateOnNewDocument", identifier=self.script)

    def assert_nothing_ran(self):
        """Nothing of a name ran, none had to be stopped, none became an element or an attribute."""
        browser = self.browser
        assert browser.evaluate("globalThis.ran") == []
        assert browser.evaluate("typeof hacked") == "undefined"
        assert browser.complaints() == [] and browser.requests() == []
        listeners = browser.evaluate(
            "[...document.querySelectorAll('*')].flatMap((e) => [...e.attributes]"
            ".filter(({ name, value }) => name.startsWith('on') || name === 'srcdoc' ||"
            "/^\\s*javascript:/i.test(value) && name !== 'aria-label' && name !== 'title' &&"
            "name !== 'alt' && name !== 'label' && name !== 'value' && !name.startsWith('data-'))"
            ".map(({ name, value }) => `${e.tagName} ${name}=${value}`))"
        )
        assert listeners == []
        assert browser.evaluate("document.querySelectorAll('iframe, object, embed').length") == 0

    def assert_no_turned_text(self):
        """No character that turns the direction of what follows it is on the page."""
        turned = self.browser.evaluate(
            "(document.title + document.documentElement.innerHTML)"
            ".match(/[\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]/g)"
        )
        assert turned is None
