// Structured output: dotnet run --project samples/StructuredOutput [model]
// The answer is held to a JSON Schema token by token, so that it can always be read; whether it is right is up to the model.
using System.ComponentModel.DataAnnotations;
using DeepSeek;
using DeepSeek.Extensions;
using Microsoft.Extensions.AI;

await using LanguageModel model = await LanguageModel.LoadAsync(args.FirstOrDefault() ?? "samples/models/SmolLM2-135M-Instruct.Q4_1.gguf");
IChatClient client = model.AsIChatClient();
ChatOptions options = new() { Temperature = 0, MaxOutputTokens = 200 };

// A .NET type: its schema is what AIJsonUtilities makes of it, limits included.
ChatResponse<Person> person = await client.GetResponseAsync<Person>("Who is this? Maria Silva is 34 years old and works as a nurse in Lisbon.", options);
Console.WriteLine($"person: {person.Result.Name}, {person.Result.Age}, {person.Result.City}");

// What ChatOptions has no words for comes from RawRepresentationFactory: one of a few strings, or a regular expression.
Console.WriteLine($"choice: {await Constrained("Is the sentence 'I love this!' positive or negative?", new OutputConstraint.Choice(["positive", "negative"]))}");
Console.WriteLine($"date:   {await Constrained("Write the date of the moon landing as year-month-day.", new OutputConstraint.Regex("(19|20)[0-9]{2}-(0[1-9]|1[0-2])-[0-3][0-9]"))}");

async Task<string> Constrained(string question, OutputConstraint constraint)
    => (await client.GetResponseAsync(question, new ChatOptions { Temperature = 0, RawRepresentationFactory = _ => new GenerationOptions { Constraint = constraint } })).Text;

/// <summary>What is asked for.</summary>
internal sealed record Person([property: StringLength(30)] string Name, [property: Range(0, 120)] int Age, [property: StringLength(30)] string City);
